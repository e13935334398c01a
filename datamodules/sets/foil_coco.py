"""FOIL-COCO (Shekhar et al. 2017, arXiv:1705.01359): COCO captions, each with copies in which one noun is
wrong (a "foil").

Layout: ``root`` holds ``foilv1.0_test_2017.json`` as its publishers ship it (198,960 captions, about 99,000
pairs), ``images`` COCO's ``val2014/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.sets import coco_files
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

GROUP = "foil"
ROWS = pa.schema({"key": pa.string(), "file": pa.string(), "original": pa.string(), "foil": pa.string()})

LAYOUT = Layout(
    name="FoilCOCO",
    title="FOIL-COCO",
    page="https://foilunitn.github.io",
    licence=f"none stated for its captions; {coco_files.LICENCE}",
    size="6.6 GB with COCO's val2014",
    root="data/foil_coco",
    options={"images": "data/coco/val2014"},
    parts=(
        Part("foilv1.0_test_2017.json", "captions and foils", 1, by_hand="from https://foilunitn.github.io"),
        coco_files.photographs("val2014", folder_option="images"),
    ),
    judged_on="captions beside foils",
    counts=(SplitCounts("test", note="198,960 captions, about 99,000 pairs"),),
)


def foil_pairs(path: Path) -> Rows:
    """Rows of `ROWS`, every foil with the caption that it was made from, and a line for each record that
    cannot be used. Raises `DataError`.
    """
    files: dict[Any, str] = {}
    for number, image in enumerate(stream_json(path, "images.item")):
        try:
            files[image["id"]] = str(image["file_name"])
        except (KeyError, TypeError) as error:
            yield f"image {number}\tnot an image of FOIL-COCO ({type(error).__name__}: {error})"
    originals: dict[Any, str] = {}
    broken: set[int] = set()
    yield from _read_originals(path, originals, broken)
    for number, caption in enumerate(stream_json(path, "annotations.item")):
        if number in broken or not caption["foil"]:
            continue
        if caption["id"] not in originals:
            yield f"foil {caption['foil_id']}\tthe caption {caption['id']} that it was made from is missing"
            continue
        file = files.get(caption["image_id"], f"COCO_val2014_{int(caption['image_id']):012d}.jpg")
        yield {
            "key": str(caption["foil_id"]),
            "file": file,
            "original": originals[caption["id"]],
            "foil": " ".join(caption["caption"].split()),
        }


def _read_originals(path: Path, originals: dict[Any, str], broken: set[int]) -> Iterator[str]:
    """Fills in the captions that are no foils, by their number, and the places of the records that cannot be
    used; a line for each of these.
    """
    for number, caption in enumerate(stream_json(path, "annotations.item")):
        try:
            text = " ".join(caption["caption"].split())
            missing = {"foil_id", "image_id"} - set(caption)
            if missing:
                raise KeyError(", ".join(sorted(missing)))
            if not text:
                raise ValueError("an empty caption")
            if not isinstance(caption["foil"], bool):
                raise ValueError(f"foil is {caption['foil']!r}")
            if not caption["foil"]:
                originals[caption["id"]] = text
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            broken.add(number)
            yield f"caption {number}\tnot a caption of FOIL-COCO ({type(error).__name__}: {error})"


class FoilCOCOSource(PairRankSource):
    """All foils of one file, each paired with the caption that it was made from.

    Args:
        root: folder of ``foilv1.0_<subset>_2017.json``.
        images: folder of the photographs.
        subset: ``test`` or ``train``.
        cache_dir: where the index goes if ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: the file or the folder of images is missing.
        DataError: the file is damaged or holds no pair.
    """

    def __init__(
        self, root: Path, images: Path, subset: str = "test", cache_dir: Path = Path(".cache")
    ) -> None:
        listing = root / f"foilv1.0_{subset}_2017.json"
        LocalCopy(LAYOUT, root, {"images": images}).require(listing, images)
        self.images = images
        self.index = open_index(
            root, f"foil_{subset}", [listing], ROWS, lambda: foil_pairs(listing), cache_dir=cache_dir
        )
        self.broken = self.index.broken
        if not len(self.index):
            raise DataError(f"{listing} holds no foil with the caption that it was made from.")

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """The foil's number."""
        return self.index.value(index, "key")

    def pair(self, index: int) -> RankedPair:
        """An image with its caption, and the same image with the foil."""
        row = self.index.row(index)
        return RankedPair((row["file"], row["original"]), (row["file"], row["foil"]), GROUP)

    def image_named(self, name: str) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / name)


class FoilCOCO(GroundingDataModule):
    """FOIL-COCO. Both ``validate`` and ``test`` judge on its test file.

    Args:
        root: folder of ``foilv1.0_test_2017.json``.
        images: folder of COCO's val2014 photographs.
        kwargs: as for `GroundingDataModule`.
    """

    name = "foil_coco"
    layout = LAYOUT

    def __init__(
        self, root: Path = Path("data/foil_coco"), images: Path = Path("data/coco/val2014"), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.images = Path(images)

    def evaluation_source(self, split: Split) -> FoilCOCOSource:
        """The pairs of the test file, for every split."""
        return FoilCOCOSource(self.root, self.images, cache_dir=self.cache_dir)
