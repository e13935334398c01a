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
from datamodules.errors import DataError, require_paths
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.retrieval import RetrievalSource
from datamodules.sets.coco_captions import COCOCaptionSource, Year, karpathy_captions
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json

FOLD, FOLDS = 1000, 5  # COCO's "1k" protocol: images of a part, and parts
FLICKR_ROWS = pa.schema({"file": pa.string(), "split": pa.string(), "captions": pa.list_(pa.string())})
REMEDY = (
    "Set --data.root; the photographs are had from shannon.cs.illinois.edu/DenotationGraph, the splits from "
    "cs.stanford.edu/people/karpathy/deepimagesent (caption_datasets.zip)."
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
        self.source, self.broken = source, source.broken
        self.chosen = (
            range(len(source)) if fold is None else range(len(source))[fold * FOLD : (fold + 1) * FOLD]
        )
        if not self.chosen:
            raise DataError(
                f"Of {len(source):,} images none is left for retrieval{'' if fold is None else f' in the part {fold}'}."
            )

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def number_of_queries(self) -> int:
        return sum(len(self.captions(index)) for index in range(len(self)))

    def key(self, index: int) -> str:
        return self.source.key(self.chosen[index])

    def image(self, index: int) -> np.ndarray:
        return self.source.image(self.chosen[index])

    def captions(self, index: int) -> list[str]:
        return self.source.captions(self.chosen[index])


def flickr_rows(listing: Path) -> Rows:
    """Rows of ``FLICKR_ROWS``, and a line for each record without a name, a split or a caption. Raises
    `DataError`.
    """
    for n, image in enumerate(stream_json(listing, "images.item")):
        try:
            captions = [
                caption for sentence in image["sentences"] if (caption := " ".join(sentence["raw"].split()))
            ]
            if not captions:
                raise ValueError("no caption")
            row = {"file": str(image["filename"]), "split": str(image["split"]), "captions": captions}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"images[{n}]\tno image with captions ({type(error).__name__}: {error})"
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
        require_paths(
            "Flickr30k",
            root,
            ["dataset_flickr30k.json", "flickr30k_images"],
            "dataset_flickr30k.json and flickr30k_images/",
            REMEDY,
        )
        listing = root / "dataset_flickr30k.json"
        self.images = root / "flickr30k_images"
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
        return Path(self.index.value(self.rows[index], "file")).stem

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / self.index.value(self.rows[index], "file"))

    def captions(self, index: int) -> list[str]:
        return self.index.value(self.rows[index], "captions")


class COCORetrieval(GroundingDataModule):
    """COCO retrieval: 5,000 images, or one of the five parts of 1,000 whose results the "1k" protocol
    averages.

    Args:
        root: folder of the layout above.
        year: of the release that the images are of.
        fold: which part (0 to 4); None for all 5,000.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco_retrieval"

    def __init__(
        self, root: Path = Path("data/coco"), year: Year = 2014, fold: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if fold is not None and not 0 <= fold < FOLDS:
            raise DataError(f"fold must be 0 to {FOLDS - 1}, not {fold}.")
        self.root, self.year, self.fold = Path(root), year, fold
        if fold is not None:
            self.name = f"coco_retrieval_1k_{fold}"

    def caption_source(self) -> COCOCaptionSource:
        return karpathy_captions(self.root, "train", self.year, self.cache_dir)

    def evaluation_source(self, split: Split) -> CaptionRetrieval:
        return CaptionRetrieval(karpathy_captions(self.root, split, self.year, self.cache_dir), self.fold)


class Flickr30kRetrieval(GroundingDataModule):
    """Flickr30k retrieval: 1,000 images.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_retrieval"

    def __init__(self, root: Path = Path("data/flickr30k_entities"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> KarpathyFlickr30k:
        return KarpathyFlickr30k(self.root, "train", self.cache_dir)

    def evaluation_source(self, split: Split) -> CaptionRetrieval:
        return CaptionRetrieval(KarpathyFlickr30k(self.root, split, self.cache_dir))
