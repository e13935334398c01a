"""RefCOCO's tests are judged apart; a missing piece is one sentence; the pairs of two objects are drawn once
and kept.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.refcoco import RefCOCO, RefCOCOg, RefCOCOPlus
from datamodules.sets.refcoco_pairs import PairSource, RefCOCOPairs
from tests.fakes.refcoco import COLOURS, write, write_refcocog, write_refcocoplus
from tests.fakes.refer import Writer, mask_of


def test_tests_are_judged_apart(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(RefCOCO(root=tmp_path).evaluation_sources("test")) == ["refcoco_testA", "refcoco_testB"]
    assert list(RefCOCO(root=tmp_path).evaluation_sources("val")) == ["refcoco"]
    with pytest.raises(
        DataError,
        match=r"2 sets to test on, refcoco_testA and refcoco_testB: list it once for each, with its `split`",
    ):
        RefCOCO(root=tmp_path).evaluation_source("test")


@pytest.mark.parametrize(("split", "images"), [("val", 3), ("testA", 5), ("testB", 4)])
def test_one_split_of_them(split: Any, images: int, tmp_path: Path) -> None:
    write_refcocoplus(tmp_path)
    data = RefCOCOPlus(root=tmp_path, split=split)
    assert {name: len(source) for name, source in data.evaluation_sources("test").items()} == {
        f"refcoco_plus_{split}": images
    }
    assert len(data.evaluation_source("test")) == images  # type: ignore[arg-type]
    # Training is not watched on a test.
    assert len(data.evaluation_source("val")) == 3  # type: ignore[arg-type]


def test_a_split_that_the_set_has_not(tmp_path: Path) -> None:
    write_refcocog(tmp_path)
    assert list(RefCOCOg(root=tmp_path).evaluation_sources("test")) == ["refcocog"]
    with pytest.raises(DataError, match="has no split testB, only test, train, val"):
        RefCOCOg(root=tmp_path, split="testB").evaluation_source("test")


def test_a_test_that_was_never_published(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "train2014", "{}.jpg")
    writer.object(writer.image((1, 2, 3)), "val", ["a dog"], [1, 2, 3, 4])
    writer.write(tmp_path / "refcocog", "google")
    data = RefCOCOg(root=tmp_path, split_by="google")
    assert data.evaluation_sources("test") == {}
    assert data.evaluation_source("test") is None
    assert len(data.evaluation_source("val")) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["train2014", "images/train2014", "../coco/train2014", "elsewhere"])
def test_places_of_the_photographs(place: str, tmp_path: Path) -> None:
    root = tmp_path / "refcoco"
    write(root)
    (root / place).parent.mkdir(exist_ok=True)
    shutil.move(root / "images" / "mscoco" / "images" / "train2014", root / place)
    images = root / place if place == "elsewhere" else None
    source = RefCOCO(root=root, images=images).evaluation_source("val")
    assert np.abs(source.image(1).mean((0, 1)) - COLOURS["val"][1]).max() < 3  # type: ignore[union-attr]


def test_annotations_in_the_root_itself(tmp_path: Path) -> None:
    write(tmp_path)
    data = RefCOCO(root=tmp_path / "refcoco", images=tmp_path / "images/mscoco/images/train2014")
    assert len(data.evaluation_source("val")) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "named", "remedy"),
    [
        ("", "", "web.archive.org"),
        ("refcoco/instances.json", "refcoco", "web.archive.org"),
        ("refcoco/refs(unc).p", "refcoco/refs(unc).p", "web.archive.org"),
        (
            "images",
            "train2014",
            "--download` fetches it. If it is in another folder, set --data.root or --data.images",
        ),
    ],
)
def test_a_missing_piece(missing: str, named: str, remedy: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root)
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetNotFoundError) as raised:
        RefCOCO(root=root).evaluation_sources("test")
    assert f"{root / named}" in str(raised.value)
    assert "must hold refcoco/instances.json" in str(raised.value)
    assert remedy in str(raised.value)


# Pairs of two objects.


@pytest.fixture
def pairs(tmp_path: Path) -> RefCOCOPairs:
    write_refcocoplus(tmp_path / "data")
    return RefCOCOPairs(root=tmp_path / "data", cache_dir=tmp_path / "cache")


def judged(data: RefCOCOPairs) -> PairSource:
    return data.evaluation_sources("test")["refcoco_pairs"]  # type: ignore[return-value]


def test_a_pair_joins_two_objects_of_an_image(pairs: RefCOCOPairs) -> None:
    source = judged(pairs)
    boxes: dict[tuple[str, str], np.ndarray] = {}
    masks: dict[tuple[str, str], np.ndarray | None] = {}
    plus = RefCOCOPlus(root=pairs.root, masks=True).evaluation_sources("test")
    for single in plus.values():
        for index in range(len(single)):
            for query in single.queries(index):  # type: ignore[attr-defined]
                boxes[query.phrase, single.key(index)] = query.boxes
                masks[query.phrase, single.key(index)] = query.mask
    assert len(source) == source.number_of_queries == len(COLOURS["testA"]) + len(COLOURS["testB"])
    for index in range(len(source)):
        (query,) = source.queries(index)
        first, second = query.phrase.split(" and ")
        assert first != second
        of_parts = [(" ".join(phrase.split()), image) for phrase, image in boxes]
        names = dict(zip(of_parts, boxes, strict=True))
        parts = [names[part, source.key(index)] for part in (first, second)]
        assert query.boxes.tolist() == [boxes[part][0].tolist() for part in parts]
        assert query.mask is not None
        assert (query.mask == (masks[parts[0]] | masks[parts[1]])).all()
        assert query.mask.shape == source.image(index).shape[:2]


def test_the_list_is_kept_and_read_again(pairs: RefCOCOPairs, tmp_path: Path) -> None:
    first = judged(pairs)
    path = tmp_path / "cache" / "pairs" / "refcoco_plus-unc-testA+testB-seed0.json"
    content = json.loads(path.read_text())
    assert content["seed"] == 0
    assert [pair["phrase"] for pair in content["pairs"]] == [
        first.queries(index)[0].phrase for index in range(len(first))
    ]
    one, *_, last = content["pairs"]
    one["phrase"] = "chosen by hand"
    last["objects"] = [last["objects"][0], 987]
    path.write_text(json.dumps({"pairs": [one, last, {**one, "image": 5}]}))
    again = judged(pairs)
    assert [again.queries(index)[0].phrase for index in range(len(again))] == ["chosen by hand"]
    assert len(again.broken) == len(first.broken) + 2
    path.write_text('{"pairs": [{"image": 1}]}')
    with pytest.raises(
        DataError, match=r"seed0\.json: not readable as a list of pairs .*; delete it to draw anew"
    ):
        judged(pairs)


def test_the_draw_depends_on_the_seed_alone(pairs: RefCOCOPairs, tmp_path: Path) -> None:
    def phrases(seed: int, cache: str) -> list[str]:
        source = judged(RefCOCOPairs(pair_seed=seed, root=pairs.root, cache_dir=tmp_path / cache))
        return [source.queries(index)[0].phrase for index in range(len(source))]

    assert phrases(0, "a") == phrases(0, "b")
    assert len({tuple(phrases(seed, "c")) for seed in range(5)}) > 1


def test_two_references_to_one_thing_are_no_pair(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "train2014", "{}.jpg")
    for both in (False, True):
        image = writer.image((1, 2, 3))
        writer.object(image, "testA", ["a dog"], [1, 2, 3, 4])
        writer.object(image, "testA", ["an animal"], [1, 2, 3, 4], ann_id=writer.objects[-1]["id"])
        writer.object(image, "testA", ["the sky"], [1, 2, 3, 4] if both else [1, 2, 0, 0])
    writer.write(tmp_path / "refcoco+", "unc")
    source = judged(RefCOCOPairs(root=tmp_path, cache_dir=tmp_path))
    assert [source.key(index) for index in range(len(source))] == [str(image)]
    assert set(source.queries(0)[0].phrase.split(" and ")) == {"a dog", "the sky"}
    assert (source.queries(0)[0].mask == mask_of([1, 2, 3, 4])).all()
