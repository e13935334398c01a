"""Tags and their regions from COCO's captions and outlines: what everyone can judge tags by.

A word or compound that names a category (`coco_words.txt`) is a tag if the photograph shows an object of it;
its region is that of all these objects. A word that names nothing annotated may be visible all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.tags import TagSource
from datamodules.sets import coco_files
from datamodules.sets.class_names import COCO_THINGS
from datamodules.sets.coco_captions import COCOCaptionSource, published_captions
from datamodules.sets.coco_segmentation import COCOInstances
from datamodules.storage.coco_masks import decode_mask
from datamodules.storage.layout import Layout, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.text_files import text_lines

WORDS_FILE = Path(__file__).with_name("coco_words.txt")
TOKENS = re.compile(r"[^\s.,;:!?\"()]+|[.,;:!?\"()]")

LAYOUT = Layout(
    name="COCOTags",
    title="COCO as tags",
    page=coco_files.PAGE,
    licence=coco_files.LICENCE,
    size="1 GB (val2017)",
    root="data/coco",
    options={"subset": "val2017"},
    parts=tuple(
        part
        for subset in ("val2017", "train2017")
        for part in (
            coco_files.photographs(subset, {"subset": subset}),
            coco_files.annotation_file(f"captions_{subset}", "captions", {"subset": subset}),
            coco_files.annotation_file(f"instances_{subset}", "outlines", {"subset": subset}),
        )
    ),
    judged_on="words of captions as tags, and their regions",
    counts=(
        SplitCounts("test", 25_014, unit="captions", note="of 5,000 images", needed_if={"subset": "val2017"}),
    ),
)

Names = Mapping[tuple[str, ...], int]
"""Words in lower case -> label of the category that they name, from 1 on."""


def read_names(path: Path) -> Names:
    """Reads a file of words and compounds, such as `coco_words.txt`, and adds regular plurals.

    Raises:
        DataError: a line is not ``category: word, word``, or the category is none of COCO's.
    """
    names: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text_lines(path), start=1):
        category, colon, listed = line.partition("#")[0].partition(":")
        if not category.strip():
            continue
        if not colon or category.strip() not in COCO_THINGS:
            raise DataError(f"{path}:{number}: not `category: word, word` with a category of COCO")
        label = 1 + COCO_THINGS.index(category.strip())
        for *before, last in (name.split() for name in listed.split(",") if name.strip()):
            for form in {last, *plurals(last)}:
                names.setdefault((*before, form), label)
    return names


def plurals(noun: str) -> set[str]:
    """How the plural of a noun may be spelt.

    Example:
        >>> sorted(plurals("puppy"))
        ['puppies', 'puppyes', 'puppys']
    """
    forms = {f"{noun}s", f"{noun}es"}
    if noun.endswith("y"):
        forms.add(f"{noun[:-1]}ies")
    return forms


def named_categories(words: Sequence[str], names: Names) -> list[int]:
    """The label of the category that each word helps to name; 0 for none. Longer names go first.

    Example:
        >>> names = {("dog",): 17, ("hot", "dog"): 53}
        >>> named_categories("a Dog eats a hot dog".split(), names)
        [0, 17, 0, 0, 53, 53]
    """
    lowered = [word.lower() for word in words]
    labels = [0] * len(words)
    longest = max(map(len, names), default=0)
    start = 0
    while start < len(words):
        step = 1
        for length in range(longest, 0, -1):
            label = names.get(tuple(lowered[start : start + length]), 0)
            if label:
                labels[start : start + length] = [label] * min(length, len(words) - start)
                step = length
                break
        start += step
    return labels


class COCOTagSource(TagSource):
    """Every caption of every image that has outlines.

    Args:
        captions: the images' captions.
        instances: the images' objects.
        names: of the categories.
        unnamed: what becomes of words that name no category.
    """

    def __init__(
        self,
        captions: COCOCaptionSource,
        instances: COCOInstances,
        names: Names,
        unnamed: Literal["left_out", "negative"] = "left_out",
    ) -> None:
        self.instances = instances
        self.names = names
        self.unnamed = unnamed
        self.broken = (*captions.broken, *instances.broken)
        self.left_out = captions.left_out
        row_of_image = {int(instances.key(row)): row for row in range(len(instances))}
        self.records: list[tuple[int, int, str]] = []  # row of the image, number of the caption, the caption
        for index in range(len(captions)):
            row = row_of_image.get(int(captions.key(index)))
            if row is not None:
                self.records += [(row, *numbered) for numbered in enumerate(captions.captions(index))]

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> str:
        """The photograph's name and the number of the caption."""
        row, number, _ = self.records[index]
        return f"{self.instances.key(row)}/{number}"

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return self.instances.image(self.records[index][0])

    def words(self, index: int) -> list[str]:
        """The caption's words, and punctuation apart from them."""
        return TOKENS.findall(self.records[index][2])

    def tags(self, index: int) -> list[bool]:
        """For each word, whether it helps to name a category of which there is an object."""
        shown = set(self._row(index)["labels"])
        return [label in shown for label in self._categories(index)]

    def judged(self, index: int) -> list[bool]:
        """For each word, whether it names a category; all of them where the others are negative."""
        if self.unnamed == "negative":
            return super().judged(index)
        return [label > 0 for label in self._categories(index)]

    def masks(self, index: int) -> np.ndarray:
        """(T,H,W) bool, the region of each tag."""
        row = self._row(index)
        size = (row["height"], row["width"])
        tags = [label for label in self._categories(index) if label in row["labels"]]
        regions = {label: np.zeros(size, dtype=bool) for label in tags}
        for mask, label in zip(row["masks"], row["labels"], strict=True):
            if label in regions:
                regions[label] |= decode_mask(json.loads(mask), *size)
        return np.stack([regions[label] for label in tags]) if tags else np.zeros((0, *size), dtype=bool)

    def _row(self, index: int) -> dict[str, Any]:
        return self.instances.index.row(self.records[index][0])

    def _categories(self, index: int) -> list[int]:
        return named_categories(self.words(index), self.names)


class COCOTags(GroundingDataModule):
    """COCO's captions and outlines as tags and regions; ``validate`` and ``test`` judge on the same images.

    Args:
        root: folder of the data set, as for `datamodules.sets.coco_captions.COCOCaptions`.
        subset: of the photographs.
        words: file of the words that name categories.
        unnamed: words that name no category, which may be seen all the same, are ``left_out``, or count as
            ``negative``.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_tags"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/coco"),
        subset: Literal["val2017", "train2017"] = "val2017",
        words: Path = WORDS_FILE,
        unnamed: Literal["left_out", "negative"] = "left_out",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.subset = subset
        self.words = words
        self.unnamed = unnamed

    def evaluation_source(self, split: Split) -> COCOTagSource:
        """The images of the subset, for every split."""
        copy = LocalCopy(LAYOUT, self.root, {"subset": self.subset})
        for kind in ("instances", "captions"):
            copy.require(self.root / "annotations" / f"{kind}_{self.subset}.json")
        captions = published_captions(self.root, self.subset, self.cache_dir)
        instances = COCOInstances(self.root, self.subset, self.cache_dir)
        return COCOTagSource(captions, instances, read_names(self.words), self.unnamed)
