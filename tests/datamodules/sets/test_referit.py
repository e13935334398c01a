"""ReferIt: the reference code's own reading of a small tree, both layouts, and whose split is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.referit import ReferIt
from tests.fakes.refer import Writer
from tests.fakes.referit import write

PARITY = Path(__file__).parents[2] / "data" / "gpp" / "datasets"
EXPECTED = json.loads((PARITY / "expected.json").read_text())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PARITY / "referit", tmp_path / "referit"))


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_the_reference_code_reads(split: Any, tree: Path) -> None:
    """MultiGrounding's preprocessing: cut boxes, none beyond the image, each sentence of an object once (its
    order there is that of a Python set).
    """
    source = ReferIt(root=tree, whole_pixels=True).evaluation_source(split)
    pickled = EXPECTED["mg_referit_pickle"]
    assert [source.key(index) for index in range(len(source))] == list(pickled)  # type: ignore[union-attr]
    for index, image in enumerate(pickled.values()):
        objects = [
            (query.key.split("/")[0], query.phrase, query.boxes.tolist()) for query in source.queries(index)
        ]  # type: ignore[union-attr]
        assert sorted(objects) == sorted(
            (str(entry["ref_id"]), entry["query"], entry["bbox"]) for entry in image["annotations"]
        )
        assert source.image(index).shape[:2] == tuple(image["size"][:2])  # type: ignore[union-attr]


def test_what_the_reference_code_judges(tree: Path) -> None:
    """WWbL's loader: of these, the queries whose box covers more than 5 % of the image, each on its own."""
    source = ReferIt(root=tree, whole_pixels=True).evaluation_source("test")
    for index, image in enumerate(EXPECTED["referit"]):
        queries = source.queries(index)  # type: ignore[union-attr]
        height, width = image["size_hw"]
        queries = [
            query
            for query in queries
            if np.prod(query.boxes[0, 2:] - query.boxes[0, :2]) > 0.05 * height * width
        ]
        assert sorted((query.phrase, query.boxes.tolist()) for query in queries) == sorted(
            (e["sentences"], e["bbox"]) for e in image["meta"].values()
        )
        assert len({query.chain for query in queries}) == len(queries)
    assert source.published_boxes == "xywh"  # type: ignore[union-attr]


def test_boxes_as_they_were_published(tree: Path) -> None:
    source = ReferIt(root=tree).evaluation_source("test")
    boxes = {
        query.phrase: query.boxes.tolist()[0]
        for index in range(len(source))
        for query in source.queries(index)
    }  # type: ignore[arg-type, union-attr]
    assert boxes["guy"] == pytest.approx([10.7, 20.2, 91.6, 80.7], abs=1e-5)
    assert boxes["overflows image"] == [50, 50, 110, 90]
    assert source.number_of_queries == len(boxes) == 5  # type: ignore[union-attr]


@pytest.mark.parametrize("multigrounding", [False, True])
def test_both_layouts(multigrounding: bool, tmp_path: Path) -> None:
    fake = write(tmp_path, multigrounding)
    source: Any = ReferIt(root=tmp_path, masks=True).evaluation_source("test")
    queries = {query.key: query for index in range(len(source)) for query in source.queries(index)}
    for key, written in fake.queries["test"]["referit"].items():
        assert (queries[key].phrase, queries[key].boxes.tolist()) == (written.phrase, written.boxes)
        assert (queries[key].mask == fake.masks[key]).all()


def test_whose_split(tmp_path: Path) -> None:
    """The lists override what the references say of themselves; without lists, `split_by` says whose file is
    read.
    """
    write(tmp_path)
    assert [
        len(ReferIt(root=tmp_path).evaluation_sources(split)["referit"]) for split in ("val", "test")
    ] == [3, 4]
    assert len(ReferIt(root=tmp_path, split_by="unc").evaluation_source("val")) == 9  # type: ignore[arg-type]
    writer = Writer(tmp_path / "images" / "saiapr_tc-12", "{}.jpg")
    for split in ("test", "val", "val"):
        writer.object(writer.image((1, 2, 3)), split, ["a dog"], [1, 2, 3, 4])
    writer.write(tmp_path / "refclef", "berkeley")
    data = ReferIt(root=tmp_path, split_by="berkeley")
    assert len(data.evaluation_source("val")) == 2  # type: ignore[arg-type]
    assert len(data.evaluation_source("test")) == 1  # type: ignore[arg-type]
    writer.references = [
        {**reference, "split": f"test{letter}"}
        for reference, letter in zip(writer.references, "ABC", strict=True)
    ]
    writer.write(tmp_path / "refclef", "unc")
    assert list(ReferIt(root=tmp_path, split_by="unc").evaluation_sources("test")) == [
        "referit_testA",
        "referit_testB",
        "referit_testC",
    ]


def test_lists_may_lie_in_the_root(tmp_path: Path) -> None:
    write(tmp_path)
    for split in ("val", "test"):
        shutil.move(tmp_path / "refclef" / f"referit_{split}_imlist.txt", tmp_path)
    assert len(ReferIt(root=tmp_path).evaluation_source("test")) == 4  # type: ignore[arg-type]
    (tmp_path / "referit_test_imlist.txt").unlink()
    with pytest.raises(
        DatasetNotFoundError,
        match=r"referit_test_imlist\.txt not found; .*hassanhub/MultiGrounding.*split_by=berkeley needs none",
    ):
        ReferIt(root=tmp_path).evaluation_source("test")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "names no image"), (b"12\nx", "not readable"), (b"\xff", "not readable")]
)
def test_a_broken_list(content: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "refclef" / "referit_test_imlist.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"referit_test_imlist.txt:? {words}"):
        ReferIt(root=tmp_path).evaluation_source("test")
