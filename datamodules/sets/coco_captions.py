"""COCO captions (Chen et al. 2015, arXiv:1504.00325), as its publishers ship them: ``train2014/``,
``val2014/`` (or 2017), which may lie in ``images/``, and ``annotations/captions_*.json``. Karpathy's split is
the file ``dataset_coco.json``, in ``root`` or in ``annotations/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.sets import coco_files
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, LeftOut, Rows, open_index, stream_json
from datamodules.storage.layout import Layout, SplitCounts
from datamodules.storage.local_copy import LocalCopy

Year = Literal[2014, 2017]

SCHEMA = pa.schema([("id", pa.int64()), ("file", pa.string()), ("captions", pa.list_(pa.string()))])
# Those of the validation images of 2014 that are in neither of the two held-out sets are trained on, too.
KARPATHY_SPLITS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}

PUBLISHED = {"split": "publisher|akbari"}
KARPATHY = {"split": "karpathy"}
LAYOUT = Layout(
    name="COCOCaptions",
    title="COCO captions",
    page=coco_files.PAGE,
    licence=coco_files.LICENCE,
    size="20 GB (either year)",
    root="data/coco",
    options={"year": "2014", "split": "publisher"},
    parts=(
        coco_files.photographs("train2014", {"year": "2014"}),
        coco_files.photographs("val2014", {"year": "2014"} | KARPATHY),
        coco_files.annotation_file("captions_train2014", "captions", {"year": "2014"} | PUBLISHED),
        coco_files.photographs("train2017", {"year": "2017"}),
        coco_files.photographs("val2017", {"year": "2017"} | KARPATHY),
        coco_files.annotation_file("captions_train2017", "captions", {"year": "2017"} | PUBLISHED),
        coco_files.karpathy_list(KARPATHY),
    ),
    trains_on="images with captions",
    counts=(
        SplitCounts("train", 82_783, needed_if={"year": "2014"} | PUBLISHED),
        SplitCounts("train", 118_287, needed_if={"year": "2017", "split": "publisher"}),
        SplitCounts(
            "train",
            113_287,
            needed_if=KARPATHY,
            note="train2014, and val2014 but for 5,000 val and 5,000 test images",
        ),
    ),
    dead_links="None known. 2014 and 2017 are the same images and captions, split differently.",
)


class COCOCaptionSource(CaptionSource):
    """Images with captions.

    Args:
        index: of the columns of `SCHEMA`.
        folders: where the images may lie.
    """

    def __init__(self, index: ArrowIndex, folders: Sequence[Path]) -> None:
        self.index = index
        self.folders = folders
        self.broken = index.broken
        self.left_out = index.left_out

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """The image's number, as COCO gives it."""
        return str(self.index.value(index, "id"))

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        paths = [folder / self.index.value(index, "file") for folder in self.folders]
        return read_image(next((path for path in paths if path.exists()), paths[0]))

    def captions(self, index: int) -> list[str]:
        """About five captions."""
        return self.index.value(index, "captions")


def published_captions(root: Path, subset: str, cache_dir: Path = Path(".cache")) -> COCOCaptionSource:
    """The images and captions of ``captions_<subset>.json``; images without a caption are left out.

    Raises:
        DatasetNotFoundError: the folder of images or the annotation file is missing.
        DataError: the annotation file is damaged.
    """
    copy = LocalCopy(LAYOUT, root, {"year": subset[-4:]})
    folder = coco_files.image_folder(copy, subset)
    annotation = root / "annotations" / f"captions_{subset}.json"
    copy.require(annotation)
    index = open_index(
        root, annotation.stem, [annotation], SCHEMA, lambda: published_rows(annotation), cache_dir=cache_dir
    )
    return COCOCaptionSource(index, [folder])


def karpathy_captions(
    copy: LocalCopy, split: Split, year: Year = 2014, cache_dir: Path = Path(".cache")
) -> COCOCaptionSource:
    """A split of Karpathy & Fei-Fei 2015 (arXiv:1412.2306), whose images are those of train and val 2014:
    113,287 to train on, 5,000 each to choose and to test.

    Args:
        copy: of a data set that has COCO's photographs and ``dataset_coco.json``.
        split: of the three.
        year: of the release that the images are of. The pictures of 2017 are the same under other names.
        cache_dir: of the datamodule.

    Raises:
        DatasetNotFoundError: ``dataset_coco.json`` or the images are missing.
        DataError: ``dataset_coco.json`` is damaged.
    """
    folders = [coco_files.image_folder(copy, f"{subset}{year}") for subset in ("train", "val")]
    listing = copy.first_existing(
        copy.root / "dataset_coco.json", copy.root / "annotations" / "dataset_coco.json"
    )
    index = open_index(
        copy.root,
        f"captions_karpathy_{split}_{year}",
        [listing],
        SCHEMA,
        lambda: karpathy_rows(listing, KARPATHY_SPLITS[split], year),
        cache_dir=cache_dir,
    )
    return COCOCaptionSource(index, folders)


def published_rows(annotation: Path) -> Rows:
    """Rows of `SCHEMA` of a file of captions. Its images and captions are two lists that name each other by
    number. Raises `DataError`.
    """
    names: dict[int, str] = {}
    captions: dict[int, list[str]] = {}
    yield from _read_names(annotation, names)
    yield from _read_captions(annotation, captions)
    if not names or not captions:
        raise DataError(
            f"{annotation}: not readable as COCO captions; it must hold lists of images and of annotations "
            "with captions."
        )
    for image in captions:
        if image not in names:
            yield f"{image}\tcaptions of an image that is not listed"
    for image, name in names.items():
        if image in captions:
            yield {"id": image, "file": name, "captions": captions[image]}
        else:
            yield LeftOut("no caption")


def _read_names(annotation: Path, names: dict[int, str]) -> Iterator[str]:
    """Fills in the file names by number; a line for each that cannot be read."""
    for number, image in enumerate(stream_json(annotation, "images.item")):
        try:
            names[int(image["id"])] = str(image["file_name"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            yield f"images[{number}]\tno image of COCO ({type(error).__name__}: {error})"


def _read_captions(annotation: Path, captions: dict[int, list[str]]) -> Iterator[str]:
    """Fills in the captions by the number of their image; a line for each that cannot be read."""
    for number, entry in enumerate(stream_json(annotation, "annotations.item")):
        try:
            caption = " ".join(entry["caption"].split())
            if not caption:
                raise ValueError("it is empty")
            captions.setdefault(int(entry["image_id"]), []).append(caption)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"annotations[{number}]\tno caption of COCO ({type(error).__name__}: {error})"


def sentences_of(image: Mapping[str, Any]) -> list[str]:
    """The captions of an image in Karpathy's lists, without those that are empty. Raises `KeyError`,
    `TypeError` or `AttributeError` if it is no such image.
    """
    captions = [" ".join(sentence["raw"].split()) for sentence in image["sentences"]]
    return [caption for caption in captions if caption]


def karpathy_rows(listing: Path, splits: Sequence[str], year: Year) -> Rows:
    """Rows of `SCHEMA` of the images that ``dataset_coco.json`` puts into one of ``splits``. Raises
    `DataError`.
    """
    images = 0
    for image in stream_json(listing, "images.item"):
        images += 1
        try:
            if image["split"] not in splits:
                continue
            captions = sentences_of(image)
            number = int(image["cocoid"])
            name = str(image["filename"])
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"images[{images - 1}]\tno image of Karpathy's split ({type(error).__name__}: {error})"
            continue
        if not captions:
            yield LeftOut("no caption")
        else:
            file = name if year == 2014 else f"{number:012d}.jpg"
            yield {"id": number, "file": file, "captions": captions}
    if not images:
        raise DataError(
            f"{listing}: not readable as Karpathy's splits; it must hold a list of images, each with its "
            "split and sentences."
        )


class COCOCaptions(GroundingDataModule):
    """COCO captions for training. COCO has no phrases with boxes: judge on another set through
    `CrossDataset`.

    Args:
        root: folder of the data set, laid out as above.
        year: of the release.
        split: which images are trained on. ``publisher``: those of ``train<year>``. ``akbari`` (Akbari et al.
            2019, arXiv:1811.11683; what the papers on weak grounding quote, and the code of g and
            MultiGrounding does): those of train2014, which are 82,783. ``karpathy``: 113,287 of train and val
            2014.
        kwargs: as for `GroundingDataModule`.
    """

    name = "coco"
    layout = LAYOUT

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
        self.root = Path(root)
        self.year = year
        self.split = split

    def training_source(self) -> COCOCaptionSource:
        """The training images of the chosen split."""
        if self.split == "karpathy":
            copy = LocalCopy(LAYOUT, self.root, {"year": self.year, "split": self.split})
            return karpathy_captions(copy, "train", self.year, self.cache_dir)
        return published_captions(self.root, f"train{self.year}", self.cache_dir)

    def evaluation_source(self, split: Split) -> None:
        """None: it has no phrases with boxes."""
        return None
