"""Visual Genome (Krishna et al. 2017, arXiv:1602.07332): 108,077 photographs with 5.4 million regions, each a
phrase and a box.

Layout below ``root``, as its publishers ship it (v1.2 or later): ``region_descriptions.json``,
``image_data.json`` (may be absent), and the photographs in ``VG_100K/`` and ``VG_100K_2/``, wherever one of
them lies. Split lists: ``data_splits.pickle`` or ``densecap_splits.json``. The places in which the reference
codes keep these files (``VG_Annotations/``, ``VG_Splits/``, ``VG_Images/``) are looked in, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, Rows, open_index, stream_json
from datamodules.storage.safe_pickle import read_plain_pickle

Splits = Literal["akbari", "densecap"]

SCHEMA = pa.schema(
    [
        ("image", pa.int64()),
        ("height", pa.int32()),  # by image_data.json; 0 where unknown
        ("width", pa.int32()),
        ("regions", pa.list_(pa.int64())),
        ("phrases", pa.list_(pa.string())),
        ("words", pa.list_(pa.uint16())),  # of each phrase
        (
            "boxes",
            pa.list_(pa.list_(pa.float32(), 4)),
        ),  # x, y, x + width, y + height, as published: some stick out of the image or are empty
    ]
)
FOLDERS = ("VG_100K", "VG_100K_2", "VG_Images", "images", "images/VG_100K", "images/VG_100K_2")
PLACES = ("", "annotations", "VG_Annotations", "VG_Splits")
HOLDS = "region_descriptions.json, VG_100K/ and VG_100K_2/"
REMEDY = "Set --data.root; all are had from homes.cs.washington.edu/~ranjay/visualgenome (region descriptions, image meta data, images part 1 and 2)."
SPLIT_FILES = {
    "akbari": (
        "data_splits.pickle",
        "It is had from github.com/hassanhub/MultiGrounding (data/visual_genome/VG_Splits).",
    ),
    "densecap": (
        "densecap_splits.json",
        "It is had from github.com/jcjohnson/densecap (info/densecap_splits.json).",
    ),
}


class VisualGenomeSplit(CaptionSource, GroundingSource):
    """The images of a split with their regions: the phrases as captions, the boxes as queries.

    Args:
        root: folder of the layout above.
        splits: see `VisualGenome`.
        split: of these.
        max_words: phrases of more words are left out.
        merge: equal phrases of an image are one query with several boxes.
        cache_dir: of the datamodule.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: a file is damaged, or there is no such split.
    """

    published_boxes = "xywh"

    def __init__(
        self,
        root: Path,
        splits: Splits,
        split: Split,
        max_words: int = 79,
        merge: bool = False,
        cache_dir: Path = Path(".cache"),
    ) -> None:
        self.folders = [root / folder for folder in FOLDERS if (root / folder).is_dir()]
        if not self.folders:
            raise DatasetNotFoundError(
                "Visual Genome", root / "VG_100K" if root.exists() else root, HOLDS, REMEDY
            )
        self.index = open_regions(root, cache_dir)
        self.max_words, self.merge, self.judged = max_words, merge, split != "train"
        listing = find(root, *SPLIT_FILES[splits])
        listed = split_images(listing, split)
        chosen = np.isin(self.index.column("image").to_numpy(), list(listed))
        asked = short_phrases(self.index, max_words)
        self.rows = np.flatnonzero(chosen & (asked > 0))
        if not len(self.rows):
            raise DataError(
                f"Visual Genome: no image of {listing} ({split}) has a region in {self.index.path}; are both of the same data set?"
            )
        self.regions = int(asked[self.rows].sum())
        self.broken = list(self._left_out(set(map(str, listed))))

    def _left_out(self, listed: set[str]) -> Iterator[str]:
        """What the index names of this split; in training, where records are images, without single regions."""
        for line in self.index.broken:
            image, _, region = line.split("\t")[0].partition("/")
            if (image in listed or not image.isdigit()) and (self.judged or not region):
                yield line

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def number_of_queries(self) -> int | None:
        """Regions in all; unknown where equal phrases are merged."""
        return None if self.merge else self.regions

    def key(self, index: int) -> str:
        return str(self._value(index, "image"))

    def _value(self, index: int, column: str) -> Any:
        return self.index.value(int(self.rows[index]), column)

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read or, where boxes matter, is not of the
        size that the boxes are of.
        """
        paths = [folder / f"{self.key(index)}.jpg" for folder in self.folders]
        image = read_image(next((path for path in paths if path.exists()), paths[0]))
        height, width = self._value(index, "height"), self._value(index, "width")
        if self.judged and height and image.shape[:2] != (height, width):
            raise DataError(
                f"the image is {image.shape[1]}x{image.shape[0]}, but its boxes are for {width}x{height} (image_data.json)"
            )
        return image

    def captions(self, index: int) -> list[str]:
        words = self._value(index, "words")
        return [
            phrase
            for phrase, count in zip(self._value(index, "phrases"), words, strict=True)
            if count <= self.max_words
        ]

    def queries(self, index: int) -> list[Query]:
        image, boxes = self.key(index), self._value(index, "boxes")
        asked: dict[str | int, list[int]] = {}  # by phrase or by region, places in the row
        regions, phrases = self._value(index, "regions").tolist(), self._value(index, "phrases")
        for n in np.flatnonzero(self._value(index, "words") <= self.max_words).tolist():
            asked.setdefault(phrases[n] if self.merge else regions[n], []).append(n)
        return [
            Query(phrases[same[0]], boxes[same], f"{image}/{regions[same[0]]}", str(regions[same[0]]))
            for same in asked.values()
        ]


def find(root: Path, name: str, remedy: str) -> Path:
    """A file in one of `PLACES` below ``root``. Raises `DatasetNotFoundError`."""
    for place in PLACES:
        if (root / place / name).is_file():
            return root / place / name
    raise DatasetNotFoundError("Visual Genome", root / name, name, remedy)


def open_regions(root: Path, cache_dir: Path = Path(".cache")) -> ArrowIndex:
    """All images that have a region, of the columns of `SCHEMA`. Raises `DatasetNotFoundError` and
    `DataError`.
    """
    descriptions = find(root, "region_descriptions.json", REMEDY)
    try:
        image_data = find(root, "image_data.json", REMEDY)
    except DatasetNotFoundError:
        image_data = None
    sources = [path for path in (descriptions, image_data) if path]
    return open_index(
        root, "regions", sources, SCHEMA, lambda: region_rows(descriptions, image_data), cache_dir=cache_dir
    )


def short_phrases(index: ArrowIndex, max_words: int) -> np.ndarray:
    """(rows,) int: how many phrases of each image have at most ``max_words`` words."""
    counts = [np.zeros(0, np.int64)]
    for chunk in index.column("words").chunks:
        short = np.cumsum(np.concatenate(([0], chunk.values.to_numpy() <= max_words)))
        counts.append(np.diff(short[chunk.offsets.to_numpy()]))
    return np.concatenate(counts)


def split_images(listing: Path, split: Split) -> set[int]:
    """The image numbers of a split in ``data_splits.pickle`` or ``densecap_splits.json``.

    Raises:
        DataError: the file is damaged, or has no such split.
    """
    try:
        content = (
            read_plain_pickle(listing) if listing.suffix == ".pickle" else json.loads(listing.read_bytes())
        )
        if split not in content:
            raise DataError(f"{listing} has no {split} split; it has {', '.join(map(str, content))}.")
        return {int(image) for image in content[split]}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{listing}: not readable as lists of images ({type(error).__name__}: {error}); get the file again."
        ) from error


def region_rows(descriptions: Path, image_data: Path | None) -> Rows:
    """Rows of `SCHEMA`; a line for each image or region that is left out."""
    sizes = published_sizes(image_data) if image_data else {}
    seen: set[int] = set()
    for n, entry in enumerate(stream_json(descriptions, "item")):
        try:
            image, regions = int(entry["id"]), list(entry["regions"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            yield f"region_descriptions.json[{n}]\tno image with regions ({type(error).__name__}: {error})"
            continue
        if image in seen or (sizes and image not in sizes):
            yield f"{image}\tlisted twice" if image in seen else f"{image}\tnot listed in image_data.json"
            continue
        seen.add(image)
        height, width = sizes[image] if sizes else (0, 0)
        row: dict[str, Any] = {
            "image": image,
            "height": height,
            "width": width,
            "regions": [],
            "phrases": [],
            "words": [],
            "boxes": [],
        }
        yield from _add_regions(row, regions)
        if row["regions"]:
            yield row
    if not seen:
        raise DataError(
            f"{descriptions}: not readable as region descriptions; it must hold a list of images, each with an id and regions."
        )


def _add_regions(row: dict[str, Any], regions: list[Any]) -> Iterator[str]:
    """Adds to a row what is sound as a text with four numbers; lines for the rest."""
    known: set[int] = set()
    for n, region in enumerate(regions):
        try:
            number, words = int(region["region_id"]), region["phrase"].split()
            x, y = float(region["x"]), float(region["y"])
            box = [x, y, x + float(region["width"]), y + float(region["height"])]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"{row['image']}/#{n}\tno region ({type(error).__name__}: {error})"
            continue
        if number in known or not words or not all(map(math.isfinite, box)):
            yield f"{row['image']}/{number}\t{'listed twice' if number in known else 'the phrase is empty' if not words else 'its box is not finite'}"
            continue
        known.add(number)
        row["regions"].append(number)
        row["phrases"].append(" ".join(words))
        row["words"].append(min(len(words), 65535))
        row["boxes"].append(box)


def published_sizes(image_data: Path) -> Mapping[int, tuple[int, int]]:
    """(height, width) of each image by ``image_data.json``. Raises `DataError`."""
    try:
        sizes = {
            int(entry["image_id"]): (int(entry["height"]), int(entry["width"]))
            for entry in stream_json(image_data, "item")
        }
        if not sizes:
            raise ValueError("it lists no image")
        return sizes
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{image_data}: not readable as image meta data ({type(error).__name__}: {error}); get the file again."
        ) from error


class VisualGenome(GroundingDataModule):
    """Visual Genome: trains on the phrases of regions, and is judged on their boxes.

    Args:
        root: folder of the layout above.
        split: ``akbari`` (Akbari et al. 2019, arXiv:1811.11683; the reference codes of g and MultiGrounding):
            90,599 images to train on and 17,478 to test, the latter those that are in COCO's validation set;
            none to choose by. ``densecap`` (Johnson et al. 2016, arXiv:1511.07571; the numbers that papers on
            weak grounding quote): 77,398 to train on, 5,000 each to choose and to test. Results of the papers
            that published code are of the former.
        max_words: phrases of more words are neither learnt nor asked: 79 in the reference code of g, 9 in
            MultiGrounding's.
        merge: ask equal phrases of an image as one query with several boxes, as MultiGrounding does; the
            reference code of g asks each region for itself.
        kwargs: as for `GroundingDataModule`.
    """

    name = "visual_genome"

    def __init__(
        self,
        root: Path = Path("data/visual_genome"),
        split: Splits = "akbari",
        max_words: int = 79,
        merge: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.split, self.max_words, self.merge = Path(root), split, max_words, merge

    def caption_source(self) -> VisualGenomeSplit:
        return self._open("train")

    def evaluation_source(self, split: Split) -> VisualGenomeSplit | None:
        return None if (self.split, split) == ("akbari", "val") else self._open(split)

    def _open(self, split: Split) -> VisualGenomeSplit:
        return VisualGenomeSplit(self.root, self.split, split, self.max_words, self.merge, self.cache_dir)
