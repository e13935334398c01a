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
from datamodules.errors import DataError, require_paths
from datamodules.kinds.labels import LabelSource
from datamodules.sets.class_names import NUS_WIDE
from datamodules.storage.images import read_image
from datamodules.storage.label_maps import text_lines

REMEDY = (
    "Set --data.root; ImageList.zip and Groundtruth.zip are had from lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide, "
    "the images through its form of request."
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
        listing = f"ImageList/{subset}Imagelist.txt"
        labels = [f"Groundtruth/TrainTestLabels/Labels_{name}_{subset}.txt" for name in self.class_names]
        require_paths(
            "NUS-WIDE",
            root,
            ["Flickr", listing, *labels],
            f"Flickr/, {listing} and Groundtruth/TrainTestLabels/Labels_*_{subset}.txt",
            REMEDY,
        )
        self.images = root / "Flickr"
        self.names = [line.replace("\\", "/") for line in text_lines(root / listing) if line]
        if not self.names:
            raise DataError(f"{root / listing} names no image; it must hold one path a line.")
        self.shown = np.stack([read_marks(root / path, len(self.names)) for path in labels], axis=1)

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        return self.names[index]

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / self.names[index])

    def labels(self, index: int) -> np.ndarray:
        return self.shown[index]


class NUSWide(GroundingDataModule):
    """NUS-WIDE, 81 concepts. Both ``validate`` and ``test`` judge on its test images, as the papers on
    zero-shot tagging do.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "nus_wide"

    def __init__(self, root: Path = Path("data/nus_wide"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> NUSWideSource:
        return NUSWideSource(self.root)
