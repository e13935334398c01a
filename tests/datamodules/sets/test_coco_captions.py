"""Both releases and all splits, read as they were written; what is wrong with a file is one sentence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.coco_captions import (
    LAYOUT,
    COCOCaptions,
    COCOCaptionSource,
    karpathy_captions,
    published_captions,
)
from datamodules.storage.local_copy import LocalCopy
from tests.conftest import REAL_DATA
from tests.fakes.coco_captions import write, write_karpathy


def content(source: COCOCaptionSource) -> dict[str, list[str]]:
    return {source.key(index): source.captions(index) for index in range(len(source))}


@pytest.mark.parametrize("below", ["", "images"])
def test_captions_of_the_publisher(below: str, tmp_path: Path) -> None:
    fake = write(tmp_path)
    if below:
        (tmp_path / below).mkdir()
        (tmp_path / "train2014").rename(tmp_path / below / "train2014")
    source = COCOCaptions(tmp_path).training_source()
    assert fake.captions is not None
    assert {key: captions[::-1] for key, captions in content(source).items()} == {
        **fake.captions,
        "802": ["A gap"],
    }  # written in reverse
    assert {line.split("\t")[0] for line in source.broken} == fake.skipped["train"] - {"802"}
    assert source.image(0).shape == (20, 26, 3)
    with pytest.raises(DataError, match=r"COCO_train2014_000000000802\.jpg: not readable"):
        source.image(4)


def test_the_akbari_split_is_the_training_set_of_2014(tmp_path: Path) -> None:
    write(tmp_path)
    assert content(COCOCaptions(tmp_path, split="akbari").training_source()) == content(
        COCOCaptions(tmp_path).training_source()
    )
    with pytest.raises(DataError, match=r"release of 2014: set --data\.\.\.year 2014"):
        COCOCaptions(tmp_path, year=2017, split="akbari")


@pytest.mark.parametrize("year", [2014, 2017])
def test_karpathy(year: Any, tmp_path: Path) -> None:
    expected = write_karpathy(tmp_path, year)
    assert sorted(expected["train"]) == ["139", "285", "42"]
    for split in ("train", "val", "test"):
        source = karpathy_captions(LocalCopy(LAYOUT, tmp_path), split, year)
        assert content(source) == expected[split]
        for index in range(len(source)):
            assert int(source.image(index)[0, 0, 0]) == pytest.approx(int(source.key(index)) % 256, abs=4)
    assert [line.split("\t")[0] for line in source.broken] == ["images[6]"]
    assert content(COCOCaptions(tmp_path, year, "karpathy").training_source()) == expected["train"]


@pytest.mark.parametrize("missing", ["", "train2014", "annotations/captions_train2014.json"])
def test_a_missing_piece(missing: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    path = root / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetNotFoundError, match="prepare COCOCaptions") as raised:
        COCOCaptions(root).training_source()
    holds = "must hold train2014/*.jpg, annotations/captions_train2014.json"
    assert re.search(f"{re.escape(str(path))} not found; .*{re.escape(holds)}", str(raised.value))


def test_a_missing_karpathy_list(tmp_path: Path) -> None:
    write_karpathy(tmp_path)
    (tmp_path / "dataset_coco.json").unlink()
    with pytest.raises(
        DatasetNotFoundError, match=r"dataset_coco\.json not found.*split=karpathy .*--download"
    ):
        COCOCaptions(tmp_path, split="karpathy").training_source()


DAMAGES = {
    "empty": b"",
    "zeros": b"\0" * 100,
    "cut": b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "capt',
    "list": b"[]",
    "no captions": b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}',
    "not UTF-8": b'{"images": [{"id": 1, "file_name": "a.jpg"}], '
    b'"annotations": [{"image_id": 1, "caption": "\xff\xfe"}]}',
    "enormous number": b'{"images": [{"id": 1'
    + b"0" * 30
    + b', "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a"}]}',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_sentence(damage: str, tmp_path: Path) -> None:
    write(tmp_path)
    annotation = tmp_path / "annotations" / "captions_train2014.json"
    annotation.write_bytes(DAMAGES[damage])
    with pytest.raises(DataError, match="captions_train2014") as raised:
        published_captions(tmp_path, "train2014")
    assert "\n" not in str(raised.value)
    write_karpathy(tmp_path)
    (tmp_path / "dataset_coco.json").write_bytes(DAMAGES[damage].replace(b"annotations", b"annotation"))
    if damage not in {"no captions", "not UTF-8", "enormous number"}:  # to which the list of images is sound
        with pytest.raises(DataError, match="dataset_coco"):
            karpathy_captions(LocalCopy(LAYOUT, tmp_path), "train")


@pytest.mark.parametrize(
    "entry",
    [1, None, [], {"image_id": 139}, {"image_id": 139, "caption": 7}, {"image_id": {}, "caption": "a"}],
)
def test_a_broken_entry_is_left_out_and_named(entry: Any, tmp_path: Path) -> None:
    annotation = tmp_path / "annotations" / "captions_train2014.json"
    write(tmp_path)
    whole = json.loads(annotation.read_text())
    whole["annotations"] = [entry, {"image_id": 139, "caption": "sound"}]
    annotation.write_text(json.dumps(whole))
    source = published_captions(tmp_path, "train2014")
    assert content(source) == {"139": ["sound"]}
    assert [line.split("\t")[0] for line in source.broken] == ["images[7]", "annotations[0]"]


@pytest.mark.real_data
@pytest.mark.parametrize("subset", ["train2017", "val2017"])
def test_real_captions(subset: str, tmp_path: Path) -> None:
    root = REAL_DATA / "coco_mini"
    whole = json.loads((root / "annotations" / f"captions_{subset}.json").read_text())
    expected: dict[str, list[str]] = {str(image["id"]): [] for image in whole["images"]}
    for entry in whole["annotations"]:
        expected[str(entry["image_id"])].append(" ".join(entry["caption"].split()))
    for name in ("annotations", subset):
        (tmp_path / name).symlink_to(root / name)
    source = published_captions(tmp_path, subset)
    assert content(source) == expected
    assert not source.broken
    sizes = {str(image["id"]): (image["height"], image["width"], 3) for image in whole["images"]}
    for index in range(0, len(source), 7):
        assert source.image(index).shape == sizes[source.key(index)]
