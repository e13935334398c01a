"""Whatever is wrong with a file of annotations, it ends in one clear sentence or in a counted skip.

`CASES` are single inputs, each with its expected end. Below them, every annotation file of every small data
set is damaged in several ways.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.base import GroundingDataModule
from datamodules.catalogue import DATASETS
from datamodules.errors import DataError
from datamodules.sets.coco_captions import COCOCaptions
from datamodules.sets.flickr30k_entities import Flickr30kEntities
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from tests.datamodules.sets.reading import encoded, folder_with, read_all
from tests.fakes import coco_captions, flickr30k_entities, write_fake


def skips_query(row: Any, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        datamodule = folder_with(root, "a.png", encoded("PNG"))
        with (root / "q.jsonl").open("ab") as file:
            file.write(row if isinstance(row, bytes) else json.dumps(row).encode())
        kept, skipped = read_all(datamodule)
        assert kept == 4
        assert len(skipped) == 1
        assert skipped[0].startswith("q.jsonl:3\t")
        assert words in skipped[0]

    return case


def skips_caption(line: bytes, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        datamodule = folder_with(root, "a.png", encoded("PNG"))
        with (root / "c.jsonl").open("ab") as file:
            file.write(line)
        kept, skipped = read_all(datamodule)
        assert kept == 4
        assert [line.split("\t")[0] for line in skipped] == ["c.jsonl:3"]
        assert words in skipped[0]

    return case


def refuses_captions(name: str, content: bytes, words: str) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        folder_with(root, "a.png", encoded("PNG"))
        (root / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            ImageCaptionFolder(root / "images", root / name).training_source()

    return case


def keeps_captions(captions: list[str]) -> Callable[[Path], None]:
    def case(root: Path) -> None:
        folder_with(root, "a.png", encoded("PNG"))
        (root / "c.jsonl").write_text(
            "\n".join(json.dumps({"image": "a.png", "caption": caption}) for caption in captions)
        )
        source = ImageCaptionFolder(root / "images", root / "c.jsonl").training_source()
        assert source is not None
        assert source.captions(0) == captions
        assert not source.broken

    return case


def flickr(path: str, content: bytes | None, words: str, *skips: str) -> Callable[[Path], None]:
    """Damages a file of Flickr30k Entities; ``skips`` names what must be left out, nothing for a refusal."""

    def case(root: Path) -> None:
        flickr30k_entities.write(root / "set")
        before = read_all(Flickr30kEntities(root / "set", cache_dir=root / "cache"))
        (root / "set" / path).unlink()
        if content is not None:
            (root / "set" / path).write_bytes(content)
        datamodule = Flickr30kEntities(root / "set", cache_dir=root / "cache")
        if not skips:
            with pytest.raises(DataError, match=words):
                read_all(datamodule)
            return
        after = read_all(datamodule)
        new = [line for line in after.skipped if line not in before.skipped]
        assert after.kept == before.kept - 1
        assert [line.split("\t")[0] for line in new] == list(skips)
        assert words in new[0]

    return case


def coco(
    change: Callable[[dict[str, Any]], Any], words: str, skips: set[str] | None
) -> Callable[[Path], None]:
    """Changes COCO's captions; ``skips`` names what must be left out beside what the fake leaves out, None a
    file that must be refused.
    """

    def case(root: Path) -> None:
        fake = coco_captions.write(root / "set")
        path = root / "set" / "annotations" / "captions_train2014.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))
        datamodule = COCOCaptions(**fake.arguments | {"cache_dir": root / "cache"})
        if skips is None:
            with pytest.raises(DataError, match=words):
                read_all(datamodule)
            return
        skipped = read_all(datamodule).skipped
        assert {line.split("\t")[0] for line in skipped} == fake.skipped["train"] | skips
        assert any(words in line for line in skipped)

    return case


BOMB_XML = b'<!DOCTYPE a [<!ENTITY x "' + b"x" * 1000 + b'">' + b"".join(
    b'<!ENTITY x%d "' % n + (b"&x;" if n == 0 else b"&x%d;" % (n - 1)) * 100 + b'">' for n in range(8)
) + b"]><annotation><object><name>&x7;</name></object></annotation>"  # fmt: skip
BOX_XML = (
    "<annotation><size><width>40</width><height>30</height></size><object><name>11</name>"
    "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def of_query(**fields: Any) -> dict[str, Any]:
    return {"image": "a.png", "phrase": "it", "boxes": [[0, 0, 5, 5]]} | fields


def without(content: dict[str, Any], *keys: str) -> None:
    for key in keys:
        del content[key]


CASES: dict[str, Callable[[Path], None]] = {
    "query, broken json": skips_query(b'{"image": "a.png", "phr', "JSON"),
    "query, a list": skips_query([1, 2], "JSON object"),
    "query, no phrase": skips_query({"image": "a.png", "boxes": [[0, 0, 5, 5]]}, "phrase"),
    "query, no image": skips_query(of_query(image="gone.png"), "gone.png"),
    "query, empty phrase": skips_query(of_query(phrase=" "), "empty"),
    "query, NaN in a box": skips_query(of_query(boxes=[[float("nan"), 0, 5, 5]]), "not finite"),
    "query, infinite box": skips_query(of_query(boxes=[[0, 0, float("inf"), 5]]), "not finite"),
    "query, inverted box": skips_query(of_query(boxes=[[5, 0, 1, 5]]), "inverted"),
    "query, empty box": skips_query(of_query(boxes=[[5, 5, 5, 9]]), "empty"),
    "query, box outside": skips_query(of_query(boxes=[[25, 0, 30, 5]]), "outside"),
    "query, box of three": skips_query(of_query(boxes=[[1, 2, 3]]), ""),
    "query, phrase null": skips_query(of_query(phrase=None), "the phrase is no text but None"),
    "query, phrase a list": skips_query(of_query(phrase=["a", "b"]), "the phrase is no text"),
    "query, bbox for boxes": skips_query(
        {"image": "a.png", "phrase": "it", "bbox": [0, 0, 5, 5]}, "is 'bbox' meant for 'boxes'?"
    ),
    "query, boxes from 0 to 1": skips_query(of_query(boxes=[[0.1, 0.2, 0.5, 1]]), "--data.normalised true"),
    "query, an absolute path": skips_query(of_query(image="/data/a.png"), "write the path below the folder"),
    "query, half a surrogate in a name": skips_query(of_query(image="\ud800.png"), "no image"),
    "query, box of words": skips_query(of_query(boxes=[["a", "b", "c", "d"]]), ""),
    "query, no UTF-8": skips_query(b'{"image": "a.png", "phrase": "caf\xe9", "boxes": []}', "UTF-8"),
    "caption, empty": skips_caption(b'{"image": "a.png", "caption": " "}', "empty"),
    "caption, no UTF-8": skips_caption(b'{"image": "a.png", "caption": "caf\xe9"}', "UTF-8"),
    "caption, a number": skips_caption(b'{"image": "a.png", "caption": 7}', "no text"),
    "caption, missing image": skips_caption(b'{"image": "gone.png", "caption": "a"}', "gone.png"),
    "caption, no caption": skips_caption(b'{"image": "a.png"}', "no caption"),
    "caption, cut": skips_caption(b'{"image": "a.png", "caption": "a do', "JSON"),
    "captions, an empty file": refuses_captions("e.csv", b"", "columns image and caption"),
    "captions, other columns": refuses_captions("e.csv", b"a,b\n1,2\n", "columns image and caption"),
    "captions, another kind": refuses_captions("e.xlsx", b"PK", "read from .csv"),
    "captions, semicolons": refuses_captions(
        "e.csv", b"image;caption\na.png;a dog\n", "separated by semicolons"
    ),
    "captions, a file of COCO": refuses_captions(
        "e.json", b'{"images": [], "annotations": []}', "--data COCOCaptions"
    ),
    "captions, a document of JSON": refuses_captions(
        "e.json", b'[\n{"image": "a.png"}]', "one JSON document"
    ),
    "captions, gzip cut": refuses_captions(
        "e.jsonl.gz",
        gzip.compress(b'{"image": "a.png", "caption": "x"}' * 99)[:-9],
        "not readable to its end",
    ),
    "captions, gzip that is none": refuses_captions(
        "e.jsonl.gz", b'{"image": "a.png"}', "not readable to its end"
    ),
    "captions, a field without end": refuses_captions(
        "e.csv", b'image,caption\na.png,"' + b"x" * 200_000, "not closed in its line"
    ),
    "caption, very long": keeps_captions(["a dog " * 200_000 + "end"]),
    "captions, the same image and text twice": keeps_captions(["a dog", "a dog"]),
    "Flickr30k, XML cut": flickr(
        "Annotations/300.xml", b"<annotation><object>", "not readable as an annotation", "300"
    ),
    "Flickr30k, XML missing": flickr("Annotations/300.xml", None, "not readable as an annotation", "300"),
    "Flickr30k, XML bomb": flickr("Annotations/300.xml", BOMB_XML, "not readable as an annotation", "300"),
    "Flickr30k, a box of words": flickr(
        "Annotations/300.xml", BOX_XML.format("left").encode(), "not readable as an annotation", "300"
    ),
    "Flickr30k, sentences missing": flickr("Sentences/300.txt", None, "not readable", "300"),
    "Flickr30k, sentences not in UTF-8": flickr(
        "Sentences/300.txt", b"[/EN#11/people caf\xe9]", "not readable", "300"
    ),
    "Flickr30k, photograph missing": flickr(
        "flickr30k_images/300.jpg",
        None,
        "not readable as an image",
        *(f"300/{key}" for key in flickr30k_entities.MENTIONS),
    ),
    "Flickr30k, empty split": flickr("test.txt", b"\n", "names no image"),
    "Flickr30k, split missing": flickr("test.txt", None, "test.txt not found"),
    "COCO, no images": coco(lambda content: without(content, "images"), "not readable|damaged|no ", None),
    "COCO, no annotations": coco(
        lambda content: without(content, "annotations"), "not readable|damaged|no ", None
    ),
    "COCO, a list": coco(lambda content: [1], "not readable|damaged|no ", None),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed_annotations_end_well(name: str, tmp_path: Path) -> None:
    CASES[name](tmp_path)


# Every annotation file of every data set.

SETS = [
    kind for kind in DATASETS if kind.__name__ not in {"CrossDataset", "Scenes"}
]  # sets of sets, and drawn ones
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-3],
    "garbage": lambda data: bytes(np.random.default_rng(0).integers(0, 256, max(64, len(data)), np.uint8)),
    "bytes changed": lambda data: bytes(byte ^ 0x55 if n % 97 == 13 else byte for n, byte in enumerate(data)),
    "other values": lambda data: data.translate(bytes.maketrans(b"0123456789", b"9-e7NaN.[2")),
}
PHOTOGRAPHS = {".jpg", ".jpeg", ".webp", ".bmp"}


def written(kind: Any, root: Path) -> GroundingDataModule:
    """A data set on its fake."""
    root.mkdir()
    return kind(**write_fake(kind, root).arguments | {"cache_dir": root.parent / f"{root.name}-cache"})


@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
def test_damaged_annotations_are_refused_or_skipped(kind: Any, tmp_path: Path) -> None:
    sound = read_all(written(kind, tmp_path / "sound"))
    files = [
        path.relative_to(tmp_path / "sound")
        for path in sorted((tmp_path / "sound").rglob("*"))
        if path.is_file() and ".weakground" not in path.parts
    ]
    chosen: dict[tuple[str, str], Path] = {}
    for path in files:
        if path.suffix.lower() not in PHOTOGRAPHS:
            chosen.setdefault((path.suffix, path.parent.name), path)
    noticed = 0
    unclear: list[str] = []
    for number, path in enumerate(chosen.values()):
        for damage, change in DAMAGES.items():
            root = tmp_path / f"{number}-{damage}"
            damaged = written(kind, root)
            (root / path).write_bytes(change((root / path).read_bytes()))
            try:
                noticed += read_all(damaged) != sound
            except DataError as error:
                noticed += 1
                if "\n" in str(error):
                    unclear.append(f"{path}, {damage}: of several lines")
            except Exception as error:  # what a user would see as a traceback
                unclear.append(f"{path}, {damage}: {type(error).__name__}: {error}")
    assert unclear == []
    assert noticed or not chosen
