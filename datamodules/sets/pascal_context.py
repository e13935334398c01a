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
from datamodules.errors import DataError, require_paths
from datamodules.sets.class_names import BACKGROUND, PASCAL_CONTEXT, in_plain_english
from datamodules.sets.voc import devkit
from datamodules.storage.label_maps import (
    Labelled,
    LabelMapSource,
    in_order,
    listed_names,
    table,
    text_lines,
    to_labels,
)

REMEDY = (
    "Set --data.root; the images are had from host.robots.ox.ac.uk/pascal/VOC/voc2010, the labels (trainval.tar.gz and labels.txt) from "
    "cs.stanford.edu/~roozbeh/pascal-context."
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
        root: folder of the layout above.
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
        published = (folder / "trainval").is_dir() and not (folder / "SegmentationClassContext").is_dir()
        listing = f"ImageSets/{'Main' if published else 'SegmentationContext'}/{subset}.txt"
        needed = [
            "JPEGImages",
            *(["trainval", "labels.txt"] if published else ["SegmentationClassContext"]),
            listing,
        ]
        require_paths(
            "PASCAL Context",
            folder,
            needed,
            "JPEGImages/, " + ", ".join(needed[1:-1]) + f" and {listing}",
            REMEDY,
        )
        labels, suffix = (
            (folder / "trainval", ".mat") if published else (folder / "SegmentationClassContext", ".png")
        )
        names = in_plain_english(PASCAL_CONTEXT) if plain_english else PASCAL_CONTEXT
        first = 1 if background else 0
        super().__init__(
            [
                Labelled(name, folder / "JPEGImages" / f"{name}.jpg", labels / f"{name}{suffix}")
                for name in listed_names(folder / listing)
            ],
            (BACKGROUND, *names) if background else names,
            table(in_order(range(1, 60), first) | {0: 0 if background else IGNORED}),
        )
        self.categories = category_table(folder / "labels.txt", 0) if published else None

    def labels(self, index: int) -> np.ndarray:
        if self.categories is None:
            return super().labels(index)
        path = self.files[index].labels
        return to_labels(to_labels(read_category_map(path), self.categories, path), self.by_number, path)


class PascalContext(GroundingDataModule):
    """PASCAL Context. Both ``validate`` and ``test`` judge on its val list, as the papers do.

    Args:
        root: folder of the layout above.
        background: Context-60 or, without background, Context-59. Which of them the row "Context" of TTD's
            table is, it does not say.
        plain_english: class names as MaskCLIP writes them.
        kwargs: as for `GroundingDataModule`.
    """

    name = "pascal_context"

    def __init__(
        self,
        root: Path = Path("data/pascal_context"),
        background: bool = True,
        plain_english: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.background, self.plain_english = Path(root), background, plain_english
        self.name = "context60" if background else "context59"

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> PascalContextSource:
        return PascalContextSource(self.root, "val", self.background, self.plain_english)
