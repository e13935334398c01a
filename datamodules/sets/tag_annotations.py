"""The annotations of CC3M-TagMask: which words of a caption are tags, and the regions of the tags.

What the published json and mask files look like was never written down, so what is read here is anything
that they may reasonably be (`parse_tags`, `read_regions`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.errors import DataError
from datamodules.storage.label_maps import read_label_map
from datamodules.storage.text_files import text_lines

CAPTION_KEYS = ("caption", "text", "sentence")
WORD_KEYS = ("words", "tokens")
TAG_KEYS = ("tags", "labels", "words")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
IMAGES = "image"
TAGS = "json_refined"
MASKS = "mask_using_HQ-SAM"


class TaggedCaption(NamedTuple):
    """The words of a caption, and for each whether it is a tag."""

    caption: str
    words: list[str]
    labels: list[bool]


class TaggedImage(NamedTuple):
    """An image with its tagged caption; ``mask`` is a file, a folder with a file for each tag, or None."""

    key: str
    image: Path
    text: TaggedCaption
    mask: Path | None


def parse_tags(record: Any) -> TaggedCaption:
    """An annotation of any known shape -> the caption, its whitespace words, and for each whether it is a
    tag.

    Known shapes: a caption with a list of tags; a caption with a mapping word -> 0 or 1; a list of words with
    a list of as many 0 and 1; a mapping word -> 0 or 1 alone. The label of a word holds wherever the word
    stands, in upper or lower case; a tag of several words marks each of them.

    Raises:
        DataError: it has none of these shapes, or none of its tags stands in the caption.

    Example:
        >>> parse_tags({"caption": "a red dog", "tags": ["dog"]}).labels
        [False, False, True]
    """
    if not isinstance(record, Mapping):
        raise DataError(f"an annotation is an object with a caption and tags, not {str(record)[:60]!r}")
    caption = next((record[key] for key in CAPTION_KEYS if isinstance(record.get(key), str)), "")
    words = next((record[key] for key in WORD_KEYS if _is_texts(record.get(key))), None)
    labels: Any = record.get("labels")
    if words and _is_marks(labels) and len(labels) == len(words):
        return TaggedCaption(caption or " ".join(words), list(words), [bool(label) for label in labels])
    marks: Any = next((record[key] for key in TAG_KEYS if record.get(key)), None)
    if marks is None and record and _is_marks(list(record.values())):
        marks = record
        caption = caption or " ".join(record)
    if isinstance(marks, Mapping):
        marks = [word for word, mark in marks.items() if mark]
    if not caption.split() or not _is_texts(marks):
        raise DataError(
            "neither caption and tags nor words and labels were found among "
            f"{', '.join(map(str, record))[:80]}"
        )
    tags = {word for tag in marks for word in tag.lower().split()}
    is_tag = [word.lower() in tags for word in caption.split()]
    if not any(is_tag):
        raise DataError(
            f"none of the tags {', '.join(sorted(tags))[:60]!r} stands in the caption {caption[:60]!r}"
        )
    return TaggedCaption(caption, caption.split(), is_tag)


def _is_texts(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return bool(value) and all(isinstance(text, str) for text in value)


def _is_marks(value: Any) -> bool:
    return isinstance(value, list) and all(mark in (0, 1) for mark in value)


def read_regions(mask: Path, tagged: Sequence[str]) -> np.ndarray:
    """Region of each of T tagged words, (T,H,W) bool.

    Args:
        mask: a folder with ``<tag>.png`` for each tag, of which what is not 0 is meant; or one label map. If
            its numbers go from 1 to at most T, and beyond 1, k is the region of the k-th tagged word.
            Otherwise only the union of all regions is known, and every word gets that.
        tagged: the T words.

    Raises:
        DataError: a file is missing or no label map, or the files are not of one size.
    """
    if mask.is_dir():
        by_word: dict[str, Path] = {}
        for path in sorted(mask.glob("*.png")):
            words = path.stem.lower().replace("_", " ").split()
            by_word |= dict.fromkeys(words, path)
        missing = [word for word in tagged if word.lower() not in by_word]
        if missing:
            raise DataError(f"{mask} has no mask of {missing[0]!r}")
        regions = [read_label_map(by_word[word.lower()]) != 0 for word in tagged]
        if len({region.shape for region in regions}) > 1:
            raise DataError(f"{mask}: the masks are not of one size")
        return np.stack(regions)
    numbers = read_label_map(mask).astype(np.int64)
    if 1 < numbers.max(initial=0) <= len(tagged):
        return numbers == np.arange(1, len(tagged) + 1)[:, None, None]
    return np.repeat((numbers != 0)[None], len(tagged), axis=0)


def read_folders(root: Path) -> tuple[list[TaggedImage], list[str]]:
    """The published folders -> records, and a line for each that cannot be used."""
    images: dict[str, Path] = {}
    for path in sorted((root / IMAGES).iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images[path.stem] = path
    masks: dict[str, Path] = {}
    for path in sorted((root / MASKS).glob("*")):
        if path.is_dir() or path.suffix.lower() == ".png":
            masks[path.stem] = path
    records: list[TaggedImage] = []
    broken: list[str] = []
    for path in sorted((root / TAGS).glob("*.json")):
        try:
            if path.stem not in images:
                raise DataError("its image is missing")
            text = parse_tags(json.loads(path.read_bytes()))
        except (OSError, ValueError, DataError) as error:
            broken.append(f"{path.stem}\t{error}")
            continue
        records.append(TaggedImage(path.stem, images[path.stem], text, masks.get(path.stem)))
    return records, broken


def read_lines(path: Path) -> tuple[list[TaggedImage], list[str]]:
    """A file as `write_lines` writes it -> records, and a line for each that cannot be used. Raises
    `DataError`.
    """
    records: list[TaggedImage] = []
    broken: list[str] = []
    for number, line in enumerate(text_lines(path), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            image = path.parent / row["image"]
            mask = path.parent / row["mask"] if row.get("mask") else None
            records.append(TaggedImage(image.stem, image, parse_tags(row), mask))
        except DataError as error:
            broken.append(f"{path.name}:{number}\t{error}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(f"{path.name}:{number}\tno record ({type(error).__name__}: {error})")
    return records, broken


def write_lines(records: Sequence[TaggedImage], target: Path) -> None:
    """Writes records as JSON lines, with paths relative to the file. An interrupted run leaves no file."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for record in records:
            row = {
                "image": os.path.relpath(record.image, target.parent),
                "caption": record.text.caption,
                "words": record.text.words,
                "labels": [int(label) for label in record.text.labels],
                "mask": os.path.relpath(record.mask, target.parent) if record.mask else None,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    unfinished.replace(target)
