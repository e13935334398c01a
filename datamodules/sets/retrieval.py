"""Image-text retrieval on COCO and Flickr30k in the splits of Karpathy and Fei-Fei (2015, arXiv:1412.2306),
about five captions an image.

COCO (layout: `coco_captions`): 113,287 images to learn from, 5,000 in val and in test. Flickr30k:
``dataset_flickr30k.json`` as published, in ``root``, and ``flickr30k_images/<id>.jpg``; 29,000, 1,014 and
1,000 images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.retrieval import RetrievalSource
from datamodules.sets import coco_files, flickr30k_files
from datamodules.sets.coco_captions import COCOCaptionSource, Year, karpathy_captions, sentences_of
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

FOLD = 1000  # images of a part in COCO's "1k" protocol
FOLDS = 5  # number of these parts
FLICKR_ROWS = pa.schema({"file": pa.string(), "split": pa.string(), "captions": pa.list_(pa.string())})

PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"
COCO_LAYOUT = Layout(
    name="COCORetrieval",
    title="COCO retrieval (Karpathy's split)",
    page=PAGE,
    licence=coco_files.LICENCE,
    size="20 GB",
    root="data/coco",
    options={"year": "2014"},
    parts=(
        coco_files.karpathy_list(),
        coco_files.photographs("val2014", {"year": "2014"}),
        coco_files.photographs("train2014", {"year": "2014"}),
        coco_files.photographs("val2017", {"year": "2017"}),
        coco_files.photographs("train2017", {"year": "2017"}),
    ),
    trains_on="images with captions",
    judged_on="captions and images to be found by each other",
    counts=(
        SplitCounts("train", 113_287),
        SplitCounts("val", 5_000),
        SplitCounts("test", 5_000, note="also in 5 parts of 1,000, fold=0 to 4"),
    ),
)
FLICKR_LAYOUT = Layout(
    name="Flickr30kRetrieval",
    title="Flickr30k retrieval (Karpathy's split)",
    page=PAGE,
    licence=flickr30k_files.LICENCE,
    size="about 4.5 GB",
    root="data/flickr30k_entities",
    parts=(
        Part("dataset_flickr30k.json", "captions and splits", 1, url=coco_files.KARPATHY_ZIP, unpack="."),
        flickr30k_files.PHOTOGRAPHS,
    ),
    trains_on="images with captions",
    judged_on="captions and images to be found by each other",
    counts=(SplitCounts("train", 29_000), SplitCounts("val", 1_014), SplitCounts("test", 1_000)),
)


class CaptionRetrieval(RetrievalSource):
    """Images with captions, each to be found by the other.

    Args:
        source: of images and captions.
        fold: of ``source`` only the images 1000 * fold to 1000 * fold + 999; None for all.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, source: CaptionSource, fold: int | None = None) -> None:
        self.source = source
        self.broken = source.broken
        self.left_out = source.left_out
        self.chosen = range(len(source))
        if fold is not None:
            self.chosen = self.chosen[fold * FOLD : (fold + 1) * FOLD]
        if not self.chosen:
            part = "" if fold is None else f" in the part {fold}"
            raise DataError(f"Of {len(source):,} images none is left for retrieval{part}.")

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def number_of_queries(self) -> int:
        """Captions in all."""
        return sum(len(self.captions(index)) for index in range(len(self)))

    def key(self, index: int) -> str:
        """The image's name in ``source``."""
        return self.source.key(self.chosen[index])

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return self.source.image(self.chosen[index])

    def captions(self, index: int) -> list[str]:
        """About five captions."""
        return self.source.captions(self.chosen[index])


def flickr_rows(listing: Path) -> Rows:
    """Rows of `FLICKR_ROWS`, and a line for each record without a name, a split or a caption. Raises
    `DataError`.
    """
    for number, image in enumerate(stream_json(listing, "images.item")):
        try:
            captions = sentences_of(image)
            if not captions:
                raise ValueError("no caption")
            row = {"file": str(image["filename"]), "split": str(image["split"]), "captions": captions}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"images[{number}]\tno image with captions ({type(error).__name__}: {error})"
        else:
            yield row


class KarpathyFlickr30k(CaptionSource):
    """One split of Flickr30k.

    Args:
        root: folder of ``dataset_flickr30k.json`` and ``flickr30k_images/``.
        split: of the three.
        cache_dir: of the datamodule.

    Raises:
        DatasetNotFoundError: the file or the folder of images is missing.
        DataError: the file is damaged or holds nothing of the split.
    """

    def __init__(self, root: Path, split: Split, cache_dir: Path = Path(".cache")) -> None:
        listing = root / "dataset_flickr30k.json"
        self.images = root / "flickr30k_images"
        LocalCopy(FLICKR_LAYOUT, root).require(listing, self.images)
        self.index = open_index(
            root, listing.stem, [listing], FLICKR_ROWS, lambda: flickr_rows(listing), cache_dir=cache_dir
        )
        self.broken = self.index.broken
        self.rows = np.flatnonzero(self.index.column("split").to_numpy() == split).tolist()
        if not self.rows:
            raise DataError(f"{listing} holds no image of the split {split}.")

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        """The photograph's name without extension."""
        return Path(self.index.value(self.rows[index], "file")).stem

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / self.index.value(self.rows[index], "file"))

    def captions(self, index: int) -> list[str]:
        """About five captions."""
        return self.index.value(self.rows[index], "captions")


class COCORetrieval(GroundingDataModule):
    """COCO retrieval: 5,000 images, or one of the five parts of 1,000 whose results the "1k" protocol
    averages.

    Args:
        root: folder of the data set, laid out as above.
        year: of the release that the images are of.
        fold: which part (0 to 4); None for all 5,000.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_retrieval"
    layout = COCO_LAYOUT

    def __init__(
        self, root: Path = Path("data/coco"), year: Year = 2014, fold: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if fold is not None and not 0 <= fold < FOLDS:
            raise DataError(f"fold must be 0 to {FOLDS - 1}, not {fold}.")
        self.root = Path(root)
        self.year = year
        self.fold = fold
        if fold is not None:
            self.name = f"coco_retrieval_1k_{fold}"

    def _open(self, split: Split) -> COCOCaptionSource:
        copy = LocalCopy(COCO_LAYOUT, self.root, {"year": self.year})
        return karpathy_captions(copy, split, self.year, self.cache_dir)

    def training_source(self) -> COCOCaptionSource:
        """The images of Karpathy's training split."""
        return self._open("train")

    def evaluation_source(self, split: Split) -> CaptionRetrieval:
        """The images of a split, or the chosen part of them."""
        return CaptionRetrieval(self._open(split), self.fold)


class Flickr30kRetrieval(GroundingDataModule):
    """Flickr30k retrieval: 1,000 images.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_retrieval"
    layout = FLICKR_LAYOUT

    def __init__(self, root: Path = Path("data/flickr30k_entities"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def training_source(self) -> KarpathyFlickr30k:
        """The images of Karpathy's training split."""
        return KarpathyFlickr30k(self.root, "train", self.cache_dir)

    def evaluation_source(self, split: Split) -> CaptionRetrieval:
        """The images of a split."""
        return CaptionRetrieval(KarpathyFlickr30k(self.root, split, self.cache_dir))
