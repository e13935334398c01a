"""Cityscapes (Cordts et al. 2016, arXiv:1604.01685): street scenes with 19 classes, 500 images to be judged
on.

Layout below ``root``, as its publishers ship it: ``leftImg8bit/val/<city>/<name>_leftImg8bit.png`` and
``gtFine/val/<city>/<name>_gtFine_labelIds.png`` (their own numbers), or ``..._gtFine_labelTrainIds.png``
beside it (0 to 18), which goes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import DataError
from datamodules.sets.class_names import CITYSCAPES, CITYSCAPES_IDS
from datamodules.storage.label_maps import (
    Labelled,
    LabelMapSource,
    in_order,
    read_label_map,
    table,
    to_labels,
)
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

IMAGE = "_leftImg8bit.png"
TRAIN_IDS = "_gtFine_labelTrainIds.png"
IDS = "_gtFine_labelIds.png"
REQUEST = (
    "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, "
    "which need an account at https://www.cityscapes-dataset.com"
)

LAYOUT = Layout(
    name="Cityscapes",
    title="Cityscapes",
    page="https://www.cityscapes-dataset.com",
    licence="the publisher's own terms: non-commercial research and teaching",
    size="about 12 GB",
    root="data/cityscapes",
    parts=(
        Part(f"leftImg8bit/val/*/*{IMAGE}", "photographs", 500, by_hand=REQUEST),
        Part(
            f"gtFine/val/*/*{IDS}",
            "label maps",
            500,
            by_hand=REQUEST,
            alternatives=(f"gtFine/val/*/*{TRAIN_IDS}",),
        ),
    ),
    judged_on="19 classes of pixels",
    counts=(
        SplitCounts("val", 500),
        SplitCounts("test", 500, note="the same: labels of its test list are not public"),
    ),
)


class CityscapesSource(LabelMapSource):
    """One subset, of all cities.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: there is no image.
    """

    def __init__(self, root: Path, subset: str = "val") -> None:
        images = root / "leftImg8bit" / subset
        label_maps = root / "gtFine" / subset
        LocalCopy(LAYOUT, root).require(images, label_maps)
        files = []
        for image in sorted(images.glob(f"*/*{IMAGE}")):
            name = image.name.removesuffix(IMAGE)
            city = label_maps / image.parent.name
            labels = city / f"{name}{TRAIN_IDS}"
            if not labels.exists():
                labels = city / f"{name}{IDS}"
            files.append(Labelled(name, image, labels))
        if not files:
            raise DataError(f"{images} holds no image; it must hold <city>/*{IMAGE}.")
        super().__init__(files, CITYSCAPES, table(in_order(range(19))))
        self.by_id = table(in_order(CITYSCAPES_IDS), others=IGNORED)

    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8, 0 to 18, `IGNORED` where the class is none of the 19."""
        path = self.files[index].labels
        numbering = self.by_number if path.name.endswith(TRAIN_IDS) else self.by_id
        return to_labels(read_label_map(path), numbering, path)


class Cityscapes(GroundingDataModule):
    """Cityscapes. Both ``validate`` and ``test`` judge on its val images, as the papers do: labels of its
    test images are not public.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "cityscapes"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/cityscapes"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> CityscapesSource:
        """The val images, for every split."""
        return CityscapesSource(self.root)
