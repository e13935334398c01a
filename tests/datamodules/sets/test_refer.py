"""REFER's layout: every object, box and mask as it was written, REFER's names of splits, and one sentence for
whatever is broken.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.kinds.grounding import Query
from datamodules.sets.refcoco import RefCOCO
from datamodules.sets.refer import ReferAnnotations, ReferSource, object_mask
from tests.fakes.refcoco import write
from tests.fakes.refer import SIZE, Writer, mask_of, pack, run_lengths, segmentation


def masked(form: Any) -> np.ndarray:
    return object_mask({"ref": 7, "segmentation": json.dumps(form), "height": SIZE[0], "width": SIZE[1]})


@pytest.mark.parametrize("form", ["polygons", "runs", "packed", "packed_list"])
@pytest.mark.parametrize("box", [[10, 4, 21, 30], [0, 0, 60, 40], [40, 20, 30, 30], [59, 39, 1, 1]])
def test_a_mask_in_every_form(form: str, box: list[float]) -> None:
    mask = masked(segmentation(box, form))
    assert mask.dtype == bool
    assert (mask == mask_of(box)).all()


def test_a_slanted_outline_against_opencv() -> None:
    corners = np.array([[4.3, 2.1], [55.8, 11.7], [30.2, 36.9], [22.0, 18.4]])
    mask = masked([corners.ravel().tolist()])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    outline = corners.astype(np.float32)[:, None]
    distance = np.array(
        [
            cv2.pointPolygonTest(outline, (float(u), float(v)), True)
            for u, v in zip(x.ravel(), y.ravel(), strict=True)
        ]
    ).reshape(SIZE)
    sure = np.abs(distance) > 0.3  # COCO's tools draw on fifths of a pixel
    assert sure.mean() > 0.95
    assert (mask == (distance > 0))[sure].all()


def test_random_run_lengths() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random(SIZE) < share
        assert (masked({"size": list(SIZE), "counts": run_lengths(mask)}) == mask).all()
        assert (masked([{"size": list(SIZE), "counts": pack(run_lengths(mask))}]) == mask).all()


@pytest.mark.parametrize(
    "form",
    [
        [],
        None,
        "runs",
        [[1, 2, 3]],
        {"size": [9, 9], "counts": [81]},
        {"size": list(SIZE), "counts": [5]},
        [{"size": list(SIZE)}],
        [{}, 3],
    ],
)
def test_a_broken_mask(form: Any) -> None:
    with pytest.raises(DataError, match=r"^reference 7: "):
        masked(form)


def all_queries(source: Any) -> list[Query]:
    return [query for index in range(len(source)) for query in source.queries(index)]


def test_masks_of_a_set(tmp_path: Path) -> None:
    fake = write(tmp_path)
    masks = {}
    for source in RefCOCO(root=tmp_path, masks=True).evaluation_sources("test").values():
        masks |= {query.key: query.mask for query in all_queries(source)}
    sound = {key for queries in fake.queries["test"].values() for key in queries}
    assert sound <= set(masks)
    for key in sound:
        assert (masks[key] == fake.masks[key]).all(), key
    without_masks = RefCOCO(root=tmp_path).evaluation_source("val")
    assert all(query.mask is None for query in all_queries(without_masks))


def split_source(folder: Path, splits: list[str], name: str) -> ReferSource:
    """A set in which the reference n is of ``splits[n]``; the source of the split ``name``."""
    writer = Writer(folder / "images", "{}.jpg")
    for split in splits:
        writer.object(writer.image((1, 2, 3)), split, [split], [1, 2, 3, 4])
    writer.write(folder, "unc")
    annotations = ReferAnnotations(folder, "unc")
    return ReferSource(annotations, annotations.rows(name), folder / "images")


@pytest.mark.parametrize(
    ("split", "captions"),
    [
        ("train", ["train"]),
        ("val", ["val"]),
        ("testA", ["testA", "testAB"]),
        ("testB", ["testB", "testAB"]),
        ("testC", ["testC"]),
    ],
)
def test_a_test_of_several_letters_belongs_to_each(split: str, captions: list[str], tmp_path: Path) -> None:
    splits = ["testA", "train", "val", "testB", "testC", "testAB"]
    source = split_source(tmp_path, splits, split)
    assert [source.captions(index)[0] for index in range(len(source))] == captions
    assert ReferAnnotations(tmp_path, "unc").test_sets() == ["testA", "testB", "testC"]


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"refs\(unc\)\.p has no split testA, only test, train\."):
        split_source(tmp_path, ["train", "test"], "testA")
    assert ReferAnnotations(tmp_path, "unc").test_sets() == ["test"]


def test_objects_of_an_image_that_are_scattered_in_the_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "images", "{}.jpg")
    later = writer.image((1, 2, 3))
    first = writer.image((1, 2, 3))
    for image, word in ((first, "a"), (later, "b"), (first, "c"), (later, "d"), (first, "e")):
        writer.object(image, "val", [word], [1, 2, 3, 4])
    writer.write(tmp_path, "unc")
    annotations = ReferAnnotations(tmp_path, "unc")
    source = ReferSource(annotations, annotations.rows("val"), tmp_path)
    assert [(source.key(n), source.captions(n)) for n in range(len(source))] == [
        (str(first), ["a", "c", "e"]),
        (str(later), ["b", "d"]),
    ]
    assert source.number_of_queries == 5


def test_the_number_of_queries_is_exact(tmp_path: Path) -> None:
    write(tmp_path)
    for source in RefCOCO(root=tmp_path).evaluation_sources("test").values():
        assert source.number_of_queries == len(all_queries(source))


def test_it_is_read_once(tmp_path: Path) -> None:
    write(tmp_path)
    before = all_queries(RefCOCO(root=tmp_path).evaluation_source("val"))
    refs = tmp_path / "refcoco" / "refs(unc).p"
    stat = refs.stat()
    refs.write_bytes(b"\0" * stat.st_size)
    os.utime(refs, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = all_queries(RefCOCO(root=tmp_path).evaluation_source("val"))
    assert str(after) == str(before)
    os.utime(refs)
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: "):
        RefCOCO(root=tmp_path).evaluation_source("val")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("instances.json", b"{", "not readable as COCO instances"),
        ("instances.json", b"[]", "not readable as COCO instances"),
        ("instances.json", b'{"images": [{}], "annotations": []}', "not readable as COCO instances"),
        ("refs(unc).p", b"", "not readable as a pickle"),
        ("refs(unc).p", pickle.dumps({"a": 1}), "holds a dict and no list of references"),
        ("refs(unc).p", b"cos\nsystem\n(S'true'\ntR.", "refused, since it asks to load os.system"),
    ],
)
def test_a_damaged_file(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "refcoco" / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        RefCOCO(root=tmp_path).evaluation_sources("test")
    assert str(raised.value).startswith(str(path))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
