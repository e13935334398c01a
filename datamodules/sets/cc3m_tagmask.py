"""CC3M-TagMask, the evaluation set of TTD: captions of CC3M whose words are marked as tags, and the region of
the tags in 680 images.

It is a folder ``image/``, ``json_refined/`` (tags) and ``mask_using_HQ-SAM/`` (regions). What its json and
mask files look like was never written down, so what is read here is anything that they may reasonably be
(`parse_tags`, `read_regions`). `convert` writes the set once as json lines, the form in which one's own
annotations are best given, too: ``tagmask.jsonl`` with ``{"image", "caption", "words", "labels", "mask"}``,
paths being relative to the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, require_paths
from datamodules.kinds.tags import TagSource
from datamodules.storage.images import read_image
from datamodules.storage.label_maps import read_label_map, text_lines

REMEDY = "Set --data.root; the set (cc3m_for_evaluation) is linked from github.com/shjo-april/TTD."
LINES = "tagmask.jsonl"
CAPTION_KEYS, WORD_KEYS, TAG_KEYS = (
    ("caption", "text", "sentence"),
    ("words", "tokens"),
    ("tags", "labels", "words"),
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Tagged(NamedTuple):
    """An image, the words of its caption and which of them are tags; ``mask`` is a file, a folder with a file
    for each tag, or None.
    """

    key: str
    image: Path
    caption: str
    words: list[str]
    labels: list[bool]
    mask: Path | None


def parse_tags(record: Any) -> tuple[str, list[str], list[bool]]:
    """An annotation of any known shape -> the caption, its whitespace words, and for each whether it is a
    tag.

    Known shapes: a caption with a list of tags; a caption with a mapping word -> 0 or 1; a list of words with
        a list of as many 0 and 1; a mapping
    word -> 0 or 1 alone. The label of a word holds wherever the word stands, in upper or lower case; a tag of
    several words marks each of them.

    Raises:
        DataError: it has none of these shapes, or none of its tags stands in the caption.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"an annotation is an object with a caption and tags, not {str(record)[:60]!r}")
    caption = next((record[key] for key in CAPTION_KEYS if isinstance(record.get(key), str)), "")
    words = next((record[key] for key in WORD_KEYS if _is_texts(record.get(key))), None)
    labels = record.get("labels")
    if (
        words
        and isinstance(labels, list)
        and len(labels) == len(words)
        and all(label in (0, 1) for label in labels)
    ):
        return caption or " ".join(words), list(words), [bool(label) for label in labels]
    marks: Any = next((record[key] for key in TAG_KEYS if record.get(key)), None)
    if marks is None and record and all(value in (0, 1) for value in record.values()):
        marks, caption = record, caption or " ".join(record)
    if isinstance(marks, Mapping):
        marks = [word for word, mark in marks.items() if mark]
    if not caption.split() or not _is_texts(marks):
        raise DataError(
            f"neither caption and tags nor words and labels were found among {', '.join(map(str, record))[:80]}"
        )
    tags = {word for tag in marks for word in tag.lower().split()}
    found = [word.lower() in tags for word in caption.split()]
    if not any(found):
        raise DataError(
            f"none of the tags {', '.join(sorted(tags))[:60]!r} stands in the caption {caption[:60]!r}"
        )
    return caption, caption.split(), found


def _is_texts(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(text, str) for text in value)
    )


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
        by_word = {
            word: path
            for path in sorted(mask.glob("*.png"))
            for word in path.stem.lower().replace("_", " ").split()
        }
        if lacking := [word for word in tagged if word.lower() not in by_word]:
            raise DataError(f"{mask} has no mask of {lacking[0]!r}")
        regions = [read_label_map(by_word[word.lower()]) != 0 for word in tagged]
        if len({region.shape for region in regions}) > 1:
            raise DataError(f"{mask}: the masks are not of one size")
        return np.stack(regions)
    numbers = read_label_map(mask).astype(np.int64)
    if 1 < numbers.max(initial=0) <= len(tagged):
        return numbers == np.arange(1, len(tagged) + 1)[:, None, None]
    return np.repeat((numbers != 0)[None], len(tagged), axis=0)


def read_layout(root: Path) -> tuple[list[Tagged], list[str]]:
    """The published folders -> records, and a line for each that cannot be used. Raises
    `DatasetNotFoundError`.
    """
    require_paths(
        "CC3M-TagMask",
        root,
        ["image", "json_refined"],
        f"image/, json_refined/ and mask_using_HQ-SAM/, or {LINES}",
        REMEDY,
    )
    images = {
        path.stem: path
        for path in sorted((root / "image").iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    masks = {
        path.stem: path
        for path in sorted((root / "mask_using_HQ-SAM").glob("*"))
        if path.is_dir() or path.suffix.lower() == ".png"
    }
    records, broken = [], []
    for path in sorted((root / "json_refined").glob("*.json")):
        try:
            if path.stem not in images:
                raise DataError("its image is missing")
            records.append(
                Tagged(
                    path.stem,
                    images[path.stem],
                    *parse_tags(json.loads(path.read_bytes())),
                    masks.get(path.stem),
                )
            )
        except (OSError, ValueError, DataError) as error:
            broken.append(f"{path.stem}\t{error}")
    return records, broken


def read_lines(path: Path) -> tuple[list[Tagged], list[str]]:
    """A file as `convert` writes it -> records, and a line for each that cannot be used. Raises `DataError`."""
    records, broken = [], []
    for n, line in enumerate(text_lines(path), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            image, mask = path.parent / row["image"], row.get("mask")
            records.append(Tagged(image.stem, image, *parse_tags(row), path.parent / mask if mask else None))
        except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            broken.append(
                f"{path.name}:{n}\t{error if isinstance(error, DataError) else f'no record ({type(error).__name__}: {error})'}"
            )
    return records, broken


def convert(root: Path, target: Path) -> int:
    """Writes the published folders below ``root`` as json lines; returns how many records there are. An
    interrupted run leaves no file.

    Raises:
        DatasetNotFoundError: a folder is missing.
        DataError: no record can be used.
    """
    records, broken = read_layout(root)
    if not records:
        raise DataError(
            f"{root / 'json_refined'} holds no annotation that can be used: {broken[0] if broken else 'it is empty'}."
        )

    def relative(path: Path) -> str:
        return os.path.relpath(path, target.parent)

    unfinished = target.with_name(f"{target.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for _, image, caption, words, labels, mask in records:
            row = {
                "image": relative(image),
                "caption": caption,
                "words": words,
                "labels": [int(label) for label in labels],
            }
            file.write(
                json.dumps(row | {"mask": relative(mask) if mask else None}, ensure_ascii=False) + "\n"
            )
    os.replace(unfinished, target)
    return len(records)


class TagMaskSource(TagSource):
    """All records of ``tagmask.jsonl`` or, where there is none, of the published folders. If any record has a
    mask, all must.

    Args:
        root: folder of either layout.

    Raises:
        DatasetNotFoundError: a folder is missing.
        DataError: no record can be used.
    """

    def __init__(self, root: Path) -> None:
        require_paths(
            "CC3M-TagMask", root, [], f"image/, json_refined/ and mask_using_HQ-SAM/, or {LINES}", REMEDY
        )
        self.records, self.broken = read_lines(root / LINES) if (root / LINES).exists() else read_layout(root)
        if not self.records:
            raise DataError(
                f"{root} holds no annotation that can be used: {self.broken[0] if self.broken else 'it is empty'}."
            )
        self.has_masks = any(record.mask for record in self.records)

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> str:
        return self.records[index].key

    def image(self, index: int) -> np.ndarray:
        return read_image(self.records[index].image)

    def words(self, index: int) -> list[str]:
        return self.records[index].words

    def tags(self, index: int) -> list[bool]:
        return self.records[index].labels

    def masks(self, index: int) -> np.ndarray | None:
        if not self.has_masks:
            return None
        record = self.records[index]
        if record.mask is None:
            raise DataError(f"{record.key} has no mask, as other images of the set do")
        regions = read_regions(
            record.mask, [word for word, label in zip(record.words, record.labels, strict=True) if label]
        )
        height, width = read_image(record.image).shape[:2]
        if regions.shape[1:] != (height, width):
            raise DataError(
                f"{record.mask}: the mask is {regions.shape[2]}x{regions.shape[1]}, the image {width}x{height}"
            )
        return regions


class CC3MTagMask(GroundingDataModule):
    """CC3M-TagMask. It has one split, on which both ``validate`` and ``test`` judge.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "cc3m_tagmask"

    def __init__(self, root: Path = Path("data/cc3m_for_evaluation"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> TagMaskSource:
        return TagMaskSource(self.root)
