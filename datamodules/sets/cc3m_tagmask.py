"""CC3M-TagMask, the evaluation set of TTD: captions of CC3M whose words are marked as tags, and the region of
the tags in 680 images.

It is a folder ``image/``, ``json_refined/`` (tags) and ``mask_using_HQ-SAM/`` (regions). `convert` writes the
set once as JSON lines, the form in which one's own annotations are best given, too: ``tagmask.jsonl`` with
``{"image", "caption", "words", "labels", "mask"}``, paths being relative to the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.tags import TagSource
from datamodules.sets.tag_annotations import (
    IMAGES,
    MASKS,
    TAGS,
    TaggedImage,
    read_folders,
    read_lines,
    read_regions,
    write_lines,
)
from datamodules.storage.images import read_image
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

LINES = "tagmask.jsonl"
BY_HAND = "cc3m_for_evaluation from the Google Drive folder that https://github.com/shjo-april/TTD names"

LAYOUT = Layout(
    name="CC3MTagMask",
    title="CC3M-TagMask",
    page="https://github.com/shjo-april/TTD",
    licence="unknown; the photographs belong to their authors",
    size="unknown",
    root="data/cc3m_for_evaluation",
    parts=(
        Part(f"{IMAGES}/*", "photographs", by_hand=BY_HAND, alternatives=(LINES,)),
        Part(f"{TAGS}/*.json", "captions and tags", by_hand=BY_HAND, alternatives=(LINES,)),
        Part(f"{MASKS}/*", "regions of the tags", by_hand=BY_HAND, alternatives=(LINES,), optional=True),
    ),
    judged_on="words of captions as tags, and their regions",
    counts=(SplitCounts("test", note="680 images have regions, as the paper counts"),),
    dead_links="Google Drive only. The form of its files is not documented.",
)


def _read_published(root: Path) -> tuple[list[TaggedImage], list[str]]:
    """The published folders -> records, and a line for each that cannot be used. Raises
    `DatasetNotFoundError`.
    """
    LocalCopy(LAYOUT, root).require(root / IMAGES, root / TAGS)
    return read_folders(root)


def convert(root: Path, target: Path) -> int:
    """Writes the published folders below ``root`` as JSON lines; returns how many records there are. An
    interrupted run leaves no file.

    Raises:
        DatasetNotFoundError: a folder is missing.
        DataError: no record can be used.
    """
    records, broken = _read_published(root)
    if not records:
        raise DataError(_unusable(root / TAGS, broken))
    write_lines(records, target)
    return len(records)


def _unusable(folder: Path, broken: list[str]) -> str:
    reason = broken[0] if broken else "it is empty"
    return f"{folder} holds no annotation that can be used: {reason}."


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
        if (root / LINES).exists():
            self.records, self.broken = read_lines(root / LINES)
        else:
            self.records, self.broken = _read_published(root)
        if not self.records:
            raise DataError(_unusable(root, self.broken))
        self.has_masks = any(record.mask for record in self.records)

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> str:
        """The photograph's name without extension."""
        return self.records[index].key

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.records[index].image)

    def words(self, index: int) -> list[str]:
        """The caption's words."""
        return self.records[index].text.words

    def tags(self, index: int) -> list[bool]:
        """For each word whether it is a tag."""
        return self.records[index].text.labels

    def masks(self, index: int) -> np.ndarray | None:
        """(T,H,W) bool, the regions of the T tagged words; None if the set has none. Raises `DataError` if
        they do not fit the image.
        """
        if not self.has_masks:
            return None
        record = self.records[index]
        if record.mask is None:
            raise DataError(f"{record.key} has no mask, as other images of the set do")
        labelled = zip(record.text.words, record.text.labels, strict=True)
        regions = read_regions(record.mask, [word for word, is_tag in labelled if is_tag])
        height, width = read_image(record.image).shape[:2]
        if regions.shape[1:] != (height, width):
            raise DataError(
                f"{record.mask}: the mask is {regions.shape[2]}x{regions.shape[1]}, "
                f"the image {width}x{height}"
            )
        return regions


class CC3MTagMask(GroundingDataModule):
    """CC3M-TagMask. It has one split, on which both ``validate`` and ``test`` judge.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "cc3m_tagmask"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/cc3m_for_evaluation"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> TagMaskSource:
        """All records, for every split."""
        return TagMaskSource(self.root)
