"""PASCAL Context (Mottaghi et al. 2014, doi:10.1109/CVPR.2014.119): 59 classes for the images of VOC 2010;
5,105 to be judged on.

Layout below ``root`` (or ``VOC2010/``, ``VOCdevkit/VOC2010/`` in it): ``JPEGImages/<id>.jpg`` of VOC 2010 and
either

* ``SegmentationClassContext/<id>.png`` (0 background, 1 to 59 classes) with
  ``ImageSets/SegmentationContext/{train,val}.txt``, the layout of MMSegmentation, in which TCL reads it; or
* ``trainval/<id>.mat`` and ``labels.txt``, as its publishers ship them: 459 categories, of which all but the
  59 become background, with ``ImageSets/Main/{train,val}.txt`` of VOC 2010.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import DataError
from datamodules.sets.class_names import BACKGROUND, PASCAL_CONTEXT, in_plain_english
from datamodules.sets.voc import devkit, devkit_paths
from datamodules.storage.label_maps import (
    Labelled,
    LabelMapSource,
    in_order,
    table,
    to_labels,
)
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.text_files import listed_names, text_lines

PAGE = "https://cs.stanford.edu/~roozbeh/pascal-context/"
LABEL_MAPS = "SegmentationClassContext"


def _part(path: str, content: str, published_path: str = "", **facts: Any) -> Part:
    """A part of the development kit; ``published_path`` is that of the publisher's own layout."""
    first, *alternatives = devkit_paths("VOC2010", path)
    if published_path:
        alternatives.extend(devkit_paths("VOC2010", published_path))
    return Part(first, content, alternatives=tuple(alternatives), **facts)


BY_HAND = (
    f"trainval/*.mat and labels.txt from {PAGE}, or the PNG files and lists that MMSegmentation's converter "
    "makes"
)
LAYOUT = Layout(
    name="PascalContext",
    title="PASCAL Context",
    page=PAGE,
    licence="photographs: Flickr terms of use; annotations: none stated",
    size="about 2 GB",
    root="data/pascal_context",
    parts=(
        _part(
            "JPEGImages/*.jpg",
            "photographs of VOC 2010",
            count=10_103,
            url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
            checksum="md5:da459979d0c395079b5c75ee67908abb",
            unpack=".",
        ),
        _part(f"{LABEL_MAPS}/*.png", "label maps", "trainval/*.mat", count=10_103, by_hand=BY_HAND),
        _part(
            "ImageSets/SegmentationContext/val.txt",
            "ids of val",
            "ImageSets/Main/val.txt",
            count=1,
            by_hand=BY_HAND,
        ),
    ),
    judged_on="59 classes of pixels, with background 60",
    counts=(SplitCounts("val", 5_105), SplitCounts("test", 5_105, note="the same")),
    dead_links="trainval_merged.json, from which the PNG files are made, was at "
    "codalabuser.blob.core.windows.net; whether it is still there is unknown.",
)


def category_table(path: Path, background: int) -> np.ndarray:
    """(512,) the publisher's category number -> label, 1 to 59 by name; every other category becomes
    ``background``.

    Args:
        path: ``labels.txt``: lines ``<number>: <name>``.
        background: label of what is none of the 59 classes.

    Raises:
        DataError: the file lacks one of the 59 classes.
    """
    numbers = {}
    for line in text_lines(path):
        number, _, name = line.partition(":")
        if number.strip().isdigit():
            numbers[name.strip()] = int(number)
    missing = [name for name in PASCAL_CONTEXT if name not in numbers]
    if missing:
        raise DataError(
            f"{path} does not name {', '.join(missing)}; it must hold lines such as '2: aeroplane'."
        )
    by_number = np.full(512, background, dtype=np.int16)
    by_number[[numbers[name] for name in PASCAL_CONTEXT]] = range(1, 60)
    return by_number


def read_category_map(path: Path) -> np.ndarray:
    """(H,W) category numbers of a ``.mat`` file. Raises `DataError`."""
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path)["LabelMap"]).astype(np.int64)
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise DataError(f"{path}: not readable as a label map ({type(error).__name__}: {error})") from error


class PascalContextSource(LabelMapSource):
    """One list of either layout.

    Args:
        root: folder of the data set, laid out as above.
        subset: name of the list.
        background: 60 classes, of which background is the first; otherwise 59, and background is not judged.
        plain_english: class names as MaskCLIP writes them ("airplane").

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the list names no image, or ``labels.txt`` lacks a class.
    """

    def __init__(
        self, root: Path, subset: str = "val", background: bool = True, plain_english: bool = False
    ) -> None:
        folder = devkit(root, "VOC2010")
        converted = (folder / LABEL_MAPS).is_dir() or not (folder / "trainval").is_dir()
        images = folder / "JPEGImages"
        if converted:
            label_maps = folder / LABEL_MAPS
            listing = folder / "ImageSets" / "SegmentationContext" / f"{subset}.txt"
            LocalCopy(LAYOUT, root).require(images, label_maps, listing)
        else:
            label_maps = folder / "trainval"
            listing = folder / "ImageSets" / "Main" / f"{subset}.txt"
            LocalCopy(LAYOUT, root).require(images, label_maps, folder / "labels.txt", listing)
        suffix = ".png" if converted else ".mat"
        files = [
            Labelled(name, images / f"{name}.jpg", label_maps / f"{name}{suffix}")
            for name in listed_names(listing)
        ]
        names = in_plain_english(PASCAL_CONTEXT) if plain_english else PASCAL_CONTEXT
        if background:
            super().__init__(files, (BACKGROUND, *names), table(in_order(range(1, 60), 1) | {0: 0}))
        else:
            super().__init__(files, names, table(in_order(range(1, 60), 0) | {0: IGNORED}))
        self.categories = None if converted else category_table(folder / "labels.txt", 0)

    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8 labels in the order of the class names; `IGNORED` where nothing is judged."""
        if self.categories is None:
            return super().labels(index)
        path = self.files[index].labels
        classes = to_labels(read_category_map(path), self.categories, path)
        return to_labels(classes, self.by_number, path)


class PascalContext(GroundingDataModule):
    """PASCAL Context. Both ``validate`` and ``test`` judge on its val list, as the papers do.

    Args:
        root: folder of the data set, laid out as above.
        background: Context-60 or, without background, Context-59. Which of them the row "Context" of TTD's
            table is, it does not say.
        plain_english: class names as MaskCLIP writes them.
        kwargs: as for `GroundingDataModule`.
    """

    name = "pascal_context"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/pascal_context"),
        background: bool = True,
        plain_english: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.background = background
        self.plain_english = plain_english
        self.name = "context60" if background else "context59"

    def evaluation_source(self, split: Split) -> PascalContextSource:
        """The val list, for every split."""
        return PascalContextSource(self.root, "val", self.background, self.plain_english)
