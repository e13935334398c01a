"""The publisher's layout, read as it was written; a missing piece is one sentence that names folder, content
and remedy.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.grounding import Query
from datamodules.sets import flickr30k_entities as module
from datamodules.sets.flickr30k_entities import (
    Flickr30kCaptions,
    Flickr30kEntities,
    Flickr30kSplit,
    plain_caption,
    read_annotation,
)
from metrics.protocols import PRESETS, evaluated_boxes
from tests.fakes.flickr30k_entities import CAPTIONS, MENTIONS, SENTENCES, write
from tests.tiny import ROOT

PARITY = ROOT / "tests" / "data" / "gpp" / "datasets"
REAL = ROOT.parent / "shared" / "data" / "flickr30k_entities_mini"


@pytest.mark.parametrize("nested", [False, True])
def test_both_layouts(nested: bool, tmp_path: Path) -> None:
    write(tmp_path, nested)
    test = Flickr30kSplit(tmp_path, "test")
    train = Flickr30kCaptions(tmp_path, "train")
    assert len(train) == 6
    assert train.captions(0) == CAPTIONS
    assert [test.key(index) for index in range(len(test))] == [
        "300",
        "301",
        "302",
        "303",
        "304",
        "392",
        "393",
    ]  # 390 has nothing to judge
    assert test.number_of_queries == 5 * 5 + 5 + 2
    assert [line.split("\t")[0] for line in test.broken] == ["391"]
    assert test.image(2).shape == (30, 40, 3)


def test_boxes_count_from_zero_and_end_exclusively(tmp_path: Path) -> None:
    write(tmp_path)
    queries = {query.key.split("/", 1)[1]: query for query in Flickr30kSplit(tmp_path, "test").queries(0)}
    assert {key: (query.phrase, query.boxes.tolist()) for key, query in queries.items()} == MENTIONS
    assert {key: query.chain for key, query in queries.items()} == {
        "0/0": "11",
        "0/1": "12",
        "1/0": "13",
        "2/0": "12",
        "4/0": "11",
    }


def test_a_chain_without_a_box_is_not_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    assert sorted(read_annotation(tmp_path / "Annotations" / "300.xml")[1]) == ["11", "12", "13"]


def test_markup_leaves_the_words() -> None:
    assert [plain_caption(sentence) for sentence in SENTENCES] == CAPTIONS
    assert plain_caption("[/EN#1/people/other A man 's [ hat] .") == "A man 's [ hat ."


@pytest.mark.parametrize("missing", ["", "flickr30k_images", "Annotations", "Sentences", "test.txt"])
def test_a_missing_piece(missing: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetNotFoundError) as raised:
        Flickr30kEntities(root=root).evaluation_source("test")
    text = str(raised.value)
    assert f"{path} not found" in text
    assert "must hold flickr30k_images/*.jpg, Annotations/*.xml, Sentences/*.txt" in text
    assert "--data.root" in text
    assert "\n" not in text


def test_an_empty_split_list(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "test.txt").write_text("\n")
    with pytest.raises(DataError, match="names no image; it must hold one image id a line"):
        Flickr30kSplit(tmp_path, "test")


def test_training_reads_no_annotation(tmp_path: Path) -> None:
    write(tmp_path)
    for path in (tmp_path / "Annotations").iterdir():
        path.write_text("torn")
    assert Flickr30kCaptions(tmp_path, "train").captions(3) == CAPTIONS


@pytest.mark.parametrize("text", [b"", b"\n \n", b"\xff\xfe\xff"])
def test_a_broken_sentence_file_is_named(text: bytes, tmp_path: Path) -> None:
    write(tmp_path)
    sound = len(Flickr30kCaptions(tmp_path, "train"))
    (tmp_path / "Sentences" / "10.txt").write_bytes(text)
    source = Flickr30kCaptions(tmp_path, "train")
    assert len(source) == sound - 1
    assert [line.split("\t")[0] for line in source.broken] == ["10"]


@pytest.mark.parametrize("side", ["<xmin>x</xmin>", "<ymin>1</ymin>"])
def test_a_box_that_is_no_box_is_named_and_not_judged(side: str, tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "Annotations" / "300.xml"
    path.write_text(path.read_text().replace("<xmin>1</xmin>", side, 1))
    source = Flickr30kSplit(tmp_path, "test")
    named = {line.split("\t")[0] for line in source.broken}
    faults = [] if "300" in named else [query.fault(30, 40) for query in source.queries(0)]
    assert ("300" in named) != any(faults)


def test_it_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second opening reads no annotation; a changed one is seen."""
    write(tmp_path)
    before = Flickr30kSplit(tmp_path, "test")
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_annotation", None)
        again = Flickr30kSplit(tmp_path, "test")
        assert str([again.queries(index) for index in range(len(again))]) == str(
            [before.queries(index) for index in range(len(before))]
        )
        assert (again.broken, again.number_of_queries) == (before.broken, before.number_of_queries)
    path = tmp_path / "Sentences" / "300.txt"
    path.write_text(f"{path.read_text()}[/EN#11/people Somebody else] .\n")
    changed = Flickr30kSplit(tmp_path, "test")
    assert changed.queries(0)[-1].phrase == "Somebody else"
    assert changed.number_of_queries == before.number_of_queries + 1


def test_the_number_of_queries_is_exact(tmp_path: Path) -> None:
    write(tmp_path)
    source = Flickr30kSplit(tmp_path, "test")
    assert source.number_of_queries == sum(len(source.queries(index)) for index in range(len(source)))


def test_what_the_reference_code_judges(tmp_path: Path) -> None:
    """WWbL's loader on its own small tree: chains whose first box covers more than 5 %, their phrases, and
    the union of their boxes.
    """
    root = shutil.copytree(PARITY / "flickr", tmp_path / "flickr")
    source = Flickr30kSplit(root, "test")
    rules = PRESETS["wwbl"]
    expected = json.loads((PARITY / "expected.json").read_text())["flickr"]
    assert [source.key(index) for index in range(len(source))] == [
        Path(image["path"]).stem for image in expected
    ]
    for index, image in enumerate(expected):
        height, width = source.image(index).shape[:2]
        assert [height, width] == image["size_hw"]
        chains: dict[str, list[Query]] = {}
        for query in source.queries(index):
            chains.setdefault(query.chain, []).append(query)
        judged_chains = {}
        for chain, mentions in chains.items():
            boxes = evaluated_boxes(
                torch.from_numpy(mentions[0].boxes)[None],
                torch.tensor([[height, width]]),
                rules,
                source.published_boxes,
            )[0]
            if (boxes[0, 2:] - boxes[0, :2]).prod() > rules.min_area * height * width:
                union = torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])
                judged_chains[chain] = {
                    "bbox": [union.tolist()],
                    "sentences": [f"{rules.prompt}{mention.phrase.lower()}" for mention in mentions],
                }
        assert judged_chains == image["meta"]


@pytest.mark.parametrize("phrase", ["a man on [/EN#8/scene a street]", "a [/EN#8/other border]]", "a man"])
def test_a_line_whose_markup_is_broken_is_left_out(phrase: str, tmp_path: Path) -> None:
    write(tmp_path)
    for image in ("10", "300"):
        path = tmp_path / "Sentences" / f"{image}.txt"
        path.write_text(f"{path.read_text()}\n[/EN#11/people {phrase} .\n")
    train = Flickr30kCaptions(tmp_path, "train")
    test = Flickr30kSplit(tmp_path, "test")
    assert train.captions(0) == CAPTIONS
    assert len(test.queries(0)) == len(MENTIONS)
    assert all("markup" in source.broken[0] for source in (train, test))


def test_photographs_are_of_the_size_that_their_boxes_are_for(tmp_path: Path) -> None:
    write(tmp_path)
    source = Flickr30kSplit(tmp_path, "test")
    path = tmp_path / "flickr30k_images" / "300.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    assert source.image(0).shape == (30, 40, 3)  # the boxes are for the picture as it is stored
    Image.new("RGB", (30, 40)).save(path, exif=exif)
    assert source.image(0).shape == (30, 40, 3)  # ... as it is seen
    Image.new("RGB", (20, 15)).save(path)
    with pytest.raises(DataError, match="the image is 20x15, but its annotations are for 40x30"):
        source.image(0)


@pytest.mark.real_data
def test_real_annotations(tmp_path: Path) -> None:
    """Every marked phrase of the 765 real photographs has a box inside its photograph."""
    for path in REAL.iterdir():
        (tmp_path / path.name).symlink_to(path)
    source = Flickr30kSplit(tmp_path, "test")
    assert (len(source), source.broken) == (765, [])
    marked = sum(path.read_text().count("[/EN#") for path in (REAL / "Sentences").iterdir())
    assert source.number_of_queries == marked
    for index in range(0, len(source), 25):
        height, width = source.image(index).shape[:2]
        for query in source.queries(index):
            assert query.fault(height, width) is None
            assert (query.boxes >= 0).all()
            assert (query.boxes <= [width, height, width, height]).all()
