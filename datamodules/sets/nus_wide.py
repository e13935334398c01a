"""NUS-WIDE (Chua et al. 2009, doi:10.1145/1646396.1646452): photographs and which of 81 concepts they show;
107,859 to be judged on.

Layout below ``root``, as its publishers ship it: ``ImageList/TestImagelist.txt`` (a path a line, with
backslashes), ``Groundtruth/TrainTestLabels/Labels_<concept>_Test.txt`` (0 or 1 a line, in the order of the
list) and ``Flickr/<folder>/<name>.jpg``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.labels import LabelSource
from datamodules.sets.class_names import NUS_WIDE
from datamodules.storage.images import read_image
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.text_files import text_lines

PAGE = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
LISTS = f"unpack ImageList.zip and Groundtruth.zip of {PAGE} (also https://github.com/NExTplusplus/NUS-WIDE)"

LAYOUT = Layout(
    name="NUSWide",
    title="NUS-WIDE",
    page=PAGE,
    licence="the publisher's agreement; the photographs belong to their authors",
    size="unknown",
    root="data/nus_wide",
    parts=(
        Part(
            "ImageList/TestImagelist.txt",
            "list of test images",
            1,
            by_hand=LISTS,
        ),
        Part(
            "Groundtruth/TrainTestLabels/Labels_*_Test.txt",
            "labels",
            81,
            by_hand=LISTS,
        ),
        Part(
            "Flickr/*/*.jpg",
            "photographs",
            269_648,
            by_hand=f"send the signed agreement of {PAGE} to the authors, who give them on request",
            links_expire=True,
        ),
    ),
    judged_on="81 concepts of photographs",
    counts=(SplitCounts("test", 107_859, note="161,789 are for training"),),
    dead_links="Many of the photographs' Flickr addresses are dead.",
)


def read_marks(path: Path, count: int) -> np.ndarray:
    """A file of ``count`` lines "0" or "1" -> (count,) bool. Raises `DataError`."""
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    marks = content[content > ord(" ")]
    if len(marks) != count or not np.isin(marks, (ord("0"), ord("1"))).all():
        raise DataError(
            f"{path} must hold a 0 or 1 for each of {count:,} images; it holds {len(marks):,} characters."
        )
    return marks == ord("1")


class NUSWideSource(LabelSource):
    """One subset.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the list is empty, or the labels do not fit it.
    """

    class_names = NUS_WIDE

    def __init__(self, root: Path, subset: str = "Test") -> None:
        listing = root / "ImageList" / f"{subset}Imagelist.txt"
        folder = root / "Groundtruth" / "TrainTestLabels"
        labels = [folder / f"Labels_{name}_{subset}.txt" for name in self.class_names]
        self.images = root / "Flickr"
        LocalCopy(LAYOUT, root).require(self.images, listing, *labels)
        self.names = [line.replace("\\", "/") for line in text_lines(listing) if line]
        if not self.names:
            raise DataError(f"{listing} names no image; it must hold one path a line.")
        self.marks = np.stack([read_marks(path, len(self.names)) for path in labels], axis=1)

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        """The photograph's path in the publisher's list."""
        return self.names[index]

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / self.names[index])

    def labels(self, index: int) -> np.ndarray:
        """(81,) bool: whether the photograph shows each concept."""
        return self.marks[index]


class NUSWide(GroundingDataModule):
    """NUS-WIDE, 81 concepts. Both ``validate`` and ``test`` judge on its test images, as the papers on
    zero-shot tagging do.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "nus_wide"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/nus_wide"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> NUSWideSource:
        """The test images, for every split."""
        return NUSWideSource(self.root)
