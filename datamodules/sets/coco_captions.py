"""COCO captions (Chen et al. 2015, arXiv:1504.00325), as its publishers ship them: ``train2014/``,
``val2014/`` (or 2017), which may lie in ``images/``, and ``annotations/captions_*.json``. Karpathy's split is
the file ``dataset_coco.json``, in ``root`` or in ``annotations/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError, require_paths
from datamodules.kinds.captions import CaptionSource
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, Rows, open_index, stream_json

Year = Literal[2014, 2017]

SCHEMA = pa.schema([("id", pa.int64()), ("file", pa.string()), ("captions", pa.list_(pa.string()))])
REMEDY = "Set --data...root; both are had from cocodataset.org (images and annotations_trainval)."
# Those of the validation images of 2014 that are in neither of the two held-out sets are trained on, too.
KARPATHY_SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}


class COCOCaptionSource(CaptionSource):
    """Images with captions.

    Args:
        index: of the columns of `SCHEMA`.
        folders: where the images may lie.
    """

    def __init__(self, index: ArrowIndex, folders: Sequence[Path]) -> None:
        self.index, self.folders, self.broken = index, folders, index.broken

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        return str(self.index.value(index, "id"))

    def image(self, index: int) -> np.ndarray:
        paths = [folder / self.index.value(index, "file") for folder in self.folders]
        return read_image(next((path for path in paths if path.exists()), paths[0]))

    def captions(self, index: int) -> list[str]:
        return self.index.value(index, "captions")


def published_captions(root: Path, subset: str, cache_dir: Path = Path(".cache")) -> COCOCaptionSource:
    """The images and captions of ``captions_<subset>.json``; images without a caption are left out.

    Raises:
        DatasetNotFoundError: the folder of images or the annotation file is missing.
        DataError: the annotation file is damaged.
    """
    annotation = root / "annotations" / f"captions_{subset}.json"
    folder = image_folder(root, subset)
    require_paths(
        "COCO",
        root,
        [f"annotations/{annotation.name}"],
        f"{subset}/ and annotations/{annotation.name}",
        REMEDY,
    )
    index = open_index(
        root, annotation.stem, [annotation], SCHEMA, lambda: published_rows(annotation), cache_dir=cache_dir
    )
    return COCOCaptionSource(index, [folder])


def karpathy_captions(
    root: Path, split: Split, year: Year = 2014, cache_dir: Path = Path(".cache")
) -> COCOCaptionSource:
    """A split of Karpathy & Fei-Fei 2015 (arXiv:1412.2306), whose images are those of train and val 2014:
    113,287 to train on, 5,000 each to choose and to test.

    Args:
        root: folder of the layout above.
        split: of the three.
        year: of the release that the images are of. The pictures of 2017 are the same under other names.
        cache_dir: of the datamodule.

    Raises:
        DatasetNotFoundError: ``dataset_coco.json`` or the images are missing.
        DataError: ``dataset_coco.json`` is damaged.
    """
    folders = [image_folder(root, f"{part}{year}") for part in ("train", "val")]
    listing = next(
        (
            path
            for path in (root / "annotations" / "dataset_coco.json", root / "dataset_coco.json")
            if path.exists()
        ),
        None,
    )
    if listing is None:
        where = "Karpathy's splits are had from cs.stanford.edu/people/karpathy/deepimagesent (caption_datasets.zip)."
        raise DatasetNotFoundError("COCO", root / "dataset_coco.json", "Karpathy's splits", where)
    name = f"captions_karpathy_{split}_{year}"
    index = open_index(
        root,
        name,
        [listing],
        SCHEMA,
        lambda: karpathy_rows(listing, KARPATHY_SPLITS[split], year),
        cache_dir=cache_dir,
    )
    return COCOCaptionSource(index, folders)


def image_folder(root: Path, subset: str) -> Path:
    """The folder of the images of a subset. Raises `DatasetNotFoundError`."""
    for folder in (root / subset, root / "images" / subset):
        if folder.is_dir():
            return folder
    missing = root / subset if root.exists() else root
    raise DatasetNotFoundError("COCO", missing, f"{subset}/ and annotations/", REMEDY)


def published_rows(annotation: Path) -> Rows:
    """Rows of `SCHEMA` of a file of captions. Its images and captions are two lists that name each other by
    number.
    """
    names: dict[int, str] = {}
    captions: dict[int, list[str]] = {}
    for n, image in enumerate(stream_json(annotation, "images.item")):
        try:
            names[int(image["id"])] = str(image["file_name"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            yield f"images[{n}]\tno image of COCO ({type(error).__name__}: {error})"
    for n, entry in enumerate(stream_json(annotation, "annotations.item")):
        try:
            if caption := " ".join(entry["caption"].split()):
                captions.setdefault(int(entry["image_id"]), []).append(caption)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"annotations[{n}]\tno caption of COCO ({type(error).__name__}: {error})"
    if not names or not captions:
        raise DataError(
            f"{annotation}: not readable as COCO captions; it must hold lists of images and of annotations with captions."
        )
    yield from (
        f"{image}\tcaptions of an image that is not listed" for image in captions if image not in names
    )
    yield from (
        {"id": image, "file": name, "captions": captions[image]}
        for image, name in names.items()
        if image in captions
    )


def karpathy_rows(listing: Path, splits: Sequence[str], year: Year) -> Rows:
    """Rows of `SCHEMA` of the images that ``dataset_coco.json`` puts into one of ``splits``."""
    images = 0
    for n, image in enumerate(stream_json(listing, "images.item")):
        try:
            images += 1
            if image["split"] not in splits:
                continue
            captions = [
                caption for sentence in image["sentences"] if (caption := " ".join(sentence["raw"].split()))
            ]
            number, name = int(image["cocoid"]), str(image["filename"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"images[{n}]\tno image of Karpathy's split ({type(error).__name__}: {error})"
            continue
        if captions:
            yield {"id": number, "file": name if year == 2014 else f"{number:012d}.jpg", "captions": captions}
    if not images:
        raise DataError(
            f"{listing}: not readable as Karpathy's splits; it must hold a list of images, each with its split and sentences."
        )


class COCOCaptions(GroundingDataModule):
    """COCO captions for training. COCO has no phrases with boxes: judge on another set through
    `CrossDataset`.

    Args:
        root: folder of the layout above.
        year: of the release.
        split: which images are trained on. ``publisher``: those of ``train<year>``. ``akbari`` (Akbari et al.
            2019, arXiv:1811.11683; what the papers on weak grounding quote, and the code of g and
            MultiGrounding does): those of train2014, which are 82,783. ``karpathy``: 113,287 of train and val
            2014.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco"

    def __init__(
        self,
        root: Path = Path("data/coco"),
        year: Year = 2014,
        split: Literal["publisher", "karpathy", "akbari"] = "publisher",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if split == "akbari" and year != 2014:
            raise DataError("The Akbari split of COCO is one of the release of 2014: set --data...year 2014.")
        self.root, self.year, self.split = Path(root), year, split

    def caption_source(self) -> COCOCaptionSource:
        cache_dir = self.cache_dir
        if self.split == "karpathy":
            return karpathy_captions(self.root, "train", self.year, cache_dir)
        return published_captions(self.root, f"train{self.year}", cache_dir)

    def evaluation_source(self, split: Split) -> None:
        return None
