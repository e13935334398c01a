"""Regions as they were written, in both layouts and both splits; against the reference loader's own output;
and what is wrong is one sentence.
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.visual_genome import VisualGenome, VisualGenomeSplit, open_regions
from tests.fakes.base import save_image
from tests.fakes.visual_genome import PHRASES, SIZE, write


@pytest.mark.parametrize("flat", [False, True])
def test_both_layouts(flat: bool, tmp_path: Path) -> None:
    fake = write(tmp_path, flat)
    train, test = (VisualGenomeSplit(tmp_path, "densecap", split) for split in ("train", "test"))
    assert [train.key(index) for index in range(len(train))] == ["1", "2", "3", "4", "5", "6", "40", "41"]
    assert [test.key(index) for index in range(len(test))] == [
        "21",
        "22",
        "23",
        "24",
        "30",
        "31",
        "34",
        "35",
    ]  # 32 is not listed, 33 has no region
    assert all(train.image(index).shape == (*SIZE, 3) for index in range(6))
    queries = {
        query.key: query
        for index in range(len(test))
        for query in test.queries(index)
        if not query.fault(*SIZE)
    }
    expected = fake.queries["test"]["visual_genome"]
    assert set(expected) == {key for key in queries if key.split("/")[0] not in {"30", "31"}}
    for key, written in expected.items():
        assert (queries[key].phrase, queries[key].boxes.tolist()) == (written.phrase, written.boxes)
        assert queries[key].boxes.dtype == np.float32
    assert test.number_of_queries == sum(len(test.queries(index)) for index in range(len(test)))
    assert [line.split("\t")[0] for line in test.broken] == [
        "24/2410",
        "32",
        "34/3401",
        "34/#7",
        "35/3510",
        "21",
    ]
    assert not train.broken
    assert test.published_boxes == "xywh"


def test_every_region_is_a_caption(tmp_path: Path) -> None:
    write(tmp_path)
    assert (
        VisualGenome(tmp_path, split="densecap").training_source().captions(0) == PHRASES
    )  # "The Red bus" twice as likely as another


def test_the_split_of_the_reference_code(tmp_path: Path) -> None:
    write(tmp_path)
    data = VisualGenome(tmp_path)
    train = data.training_source()
    test = data.evaluation_source("test")
    assert [train.key(index) for index in range(len(train))] == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "40",
        "41",
        "11",
        "12",
        "13",
    ]
    assert test is not None
    assert len(test) == 8
    assert not train.broken
    assert data.evaluation_source("val") is None
    with pytest.raises(DataError, match=r"data_splits\.pickle has no val split; it has train, test"):
        VisualGenomeSplit(tmp_path, "akbari", "val")


# As the reference loader of g reads it (its own output): an image of 160x100 pixels, regions of more than 5 %
# of its area, each asked for itself.
REFERENCE_REGIONS = [
    (1, "The Red Bus on road", 10, 10, 100, 60),
    (2, "a sign", 0, 0, 10, 10),
    (3, "The Red Bus on road", 60, 20, 80, 60),
    (4, "w w w w w w w w w w w w twelve words", 5, 5, 150, 90),
    (5, "off image", -5, -3, 120, 60),
    (6, "beyond", 100, 50, 200, 100),
]
REFERENCE_QUERIES = {
    1: ("the red bus on road", [10, 10, 110, 70]),
    3: ("the red bus on road", [60, 20, 140, 80]),
    4: ("w w w w w w w w w w w w twelve words", [5, 5, 155, 95]),
    5: ("off image", [-5, -3, 115, 57]),
    6: ("beyond", [100, 50, 300, 150]),
}


def write_regions(root: Path, regions: list[tuple[int, str, float, float, float, float]]) -> None:
    """One image, 7, of 160x100 pixels, in ``test``."""
    names = ("region_id", "phrase", "x", "y", "width", "height")
    save_image(root / "VG_Images" / "7.jpg", (9, 9, 9), (100, 160))
    (root / "region_descriptions.json").write_text(
        json.dumps([{"id": 7, "regions": [dict(zip(names, region, strict=True)) for region in regions]}])
    )
    (root / "data_splits.pickle").write_bytes(pickle.dumps({"train": {8}, "test": {7, 9}}))


def test_reference_loader(tmp_path: Path) -> None:
    write_regions(tmp_path, REFERENCE_REGIONS)
    large = {}
    for query in VisualGenomeSplit(tmp_path, "akbari", "test").queries(0):
        (x0, y0, x1, y1) = query.boxes[0].tolist()
        number = int(query.key.split("/")[1])
        if (x1 - x0) * (y1 - y0) > 0.05 * 160 * 100:
            large[number] = (query.phrase.lower(), [x0, y0, x1, y1])
    assert large == REFERENCE_QUERIES


def test_equal_phrases_of_an_image_may_be_merged(tmp_path: Path) -> None:
    write_regions(tmp_path, REFERENCE_REGIONS)
    source = VisualGenomeSplit(tmp_path, "akbari", "test", max_words=9, merge=True)
    queries = {query.phrase: query for query in source.queries(0)}
    assert list(queries) == ["The Red Bus on road", "a sign", "off image", "beyond"]
    assert queries["The Red Bus on road"].boxes.tolist() == [[10, 10, 110, 70], [60, 20, 140, 80]]
    assert source.number_of_queries == len(queries)


@pytest.mark.parametrize(("max_words", "queries"), [(79, 6), (5, 5), (2, 3), (1, 1)])
def test_long_phrases_are_left_out(max_words: int, queries: int, tmp_path: Path) -> None:
    write_regions(tmp_path, REFERENCE_REGIONS)
    source = VisualGenomeSplit(tmp_path, "akbari", "test", max_words)
    assert source.number_of_queries == len(source.queries(0)) == len(source.captions(0)) == queries


def test_an_image_with_nothing_to_ask_is_left_out(tmp_path: Path) -> None:
    write_regions(tmp_path, [(1, "two words", 1, 1, 5, 5)])
    with pytest.raises(DataError, match="has a region"):
        VisualGenomeSplit(tmp_path, "akbari", "test", max_words=1)


def test_only_the_path_is_sent_to_workers(tmp_path: Path) -> None:
    write(tmp_path)
    source = VisualGenomeSplit(tmp_path, "densecap", "train")
    sent = pickle.dumps(source)
    assert b"The Red bus" not in sent
    assert pickle.loads(sent).captions(3) == PHRASES


@pytest.mark.parametrize("missing", ["", "VG_100K", "region_descriptions.json", "densecap_splits.json"])
def test_a_missing_piece(missing: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root)
    for path in [root] if not missing else root.glob(f"{missing}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetNotFoundError, match="prepare VisualGenome split=densecap") as raised:
        VisualGenome(root, split="densecap").evaluation_source("test")
    assert f"{root / missing} not found" in str(raised.value)


def test_sizes_are_not_needed(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "image_data.json").unlink()
    source = VisualGenomeSplit(tmp_path, "densecap", "test")
    assert "32" in {source.key(index) for index in range(len(source))}
    assert source.image(5).shape == (20, 30, 3)  # nobody says that it is not of its published size


def test_an_image_of_another_size_is_not_judged(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match="the image is 30x20, but its annotations are for 60x40"):
        VisualGenomeSplit(tmp_path, "densecap", "test").image(5)
    assert VisualGenomeSplit(tmp_path, "densecap", "train").image(6).shape == (20, 30, 3)


REGION = {"region_id": 5, "phrase": "a dog", "x": 1, "y": 2, "width": 3, "height": 4}


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"phrase": None}, "7/#1"),
        ({"phrase": 5}, "7/#1"),
        ({"phrase": " "}, "7/5"),
        ({"x": None}, "7/#1"),
        ({"x": "left"}, "7/#1"),
        ({"x": "nan"}, "7/5"),
        ({"region_id": None}, "7/#1"),
        ({"region_id": 6}, "7/6"),
    ],
)
def test_a_broken_region_is_left_out_and_named(broken: dict[str, Any], name: str, tmp_path: Path) -> None:
    regions = [{**REGION, "region_id": 6}, {**REGION, **broken}]
    (tmp_path / "region_descriptions.json").write_text(json.dumps([{"id": 7, "regions": regions}]))
    index = open_regions(tmp_path)
    assert index.column("regions").to_pylist() == [[6]]
    assert [line.split("\t")[0] for line in index.broken] == [name]


@pytest.mark.parametrize(
    "entry", [1, None, {}, {"id": 2}, {"id": "x", "regions": []}, {"id": 2, "regions": None}]
)
def test_a_broken_image_is_left_out_and_named(entry: Any, tmp_path: Path) -> None:
    (tmp_path / "region_descriptions.json").write_text(json.dumps([entry, {"id": 1, "regions": [REGION]}]))
    index = open_regions(tmp_path)
    assert index.column("image").to_pylist() == [1]
    assert [line.split("\t")[0] for line in index.broken] == ["region_descriptions.json[0]"]
    (tmp_path / "VG_100K").mkdir()
    (tmp_path / "densecap_splits.json").write_text('{"train": [1]}')
    assert (
        VisualGenomeSplit(tmp_path, "densecap", "train").broken == index.broken
    )  # whatever split it may have been of


DAMAGES = [
    b"",
    b"\0" * 64,
    b"{}",
    b"[]",
    b'[{"id": 1, "regions": [{"phr',
    b'[{"id": 1, "regions": [NaN, 1e400]}]',
    b'["\xff"]',
]


@pytest.mark.parametrize("content", DAMAGES)
@pytest.mark.parametrize(
    "name", ["region_descriptions.json", "image_data.json", "densecap_splits.json", "data_splits.pickle"]
)
def test_a_damaged_file_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    write_regions(tmp_path, REFERENCE_REGIONS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        VisualGenomeSplit(tmp_path, "densecap" if name.startswith("densecap") else "akbari", "test")
    assert "\n" not in str(raised.value)


def test_a_split_list_that_would_run_code_is_refused(tmp_path: Path) -> None:
    write_regions(tmp_path, REFERENCE_REGIONS)
    (tmp_path / "data_splits.pickle").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(DataError, match=r"refused.*os\.system"):
        VisualGenome(tmp_path).evaluation_source("test")
