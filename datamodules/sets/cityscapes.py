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
from datamodules.errors import DataError, require_paths
from datamodules.sets.class_names import CITYSCAPES, CITYSCAPES_IDS
from datamodules.storage.label_maps import (
    Labelled,
    LabelMapSource,
    in_order,
    read_label_map,
    table,
    to_labels,
)

REMEDY = "Set --data.root; leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip are had, with an account, from cityscapes-dataset.com."
IMAGE, TRAIN_IDS, IDS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


class CityscapesSource(LabelMapSource):
    """One subset, of all cities.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: there is no image.
    """

    def __init__(self, root: Path, subset: str = "val") -> None:
        needed = [f"leftImg8bit/{subset}", f"gtFine/{subset}"]
        require_paths("Cityscapes", root, needed, f"leftImg8bit/{subset}/ and gtFine/{subset}/", REMEDY)
        files = []
        for image in sorted((root / needed[0]).glob(f"*/*{IMAGE}")):
            name = image.name.removesuffix(IMAGE)
            beside = root / needed[1] / image.parent.name
            labels = beside / f"{name}{TRAIN_IDS}"
            files.append(Labelled(name, image, labels if labels.exists() else beside / f"{name}{IDS}"))
        if not files:
            raise DataError(f"{root / needed[0]} holds no image; it must hold <city>/*{IMAGE}.")
        super().__init__(files, CITYSCAPES, table(in_order(range(19))))
        self.by_id = table(in_order(CITYSCAPES_IDS), others=IGNORED)

    def labels(self, index: int) -> np.ndarray:
        path = self.files[index].labels
        return to_labels(
            read_label_map(path), self.by_number if path.name.endswith(TRAIN_IDS) else self.by_id, path
        )


class Cityscapes(GroundingDataModule):
    """Cityscapes. Both ``validate`` and ``test`` judge on its val images, as the papers do: labels of its
    test images are not public.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "cityscapes"

    def __init__(self, root: Path = Path("data/cityscapes"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> CityscapesSource:
        return CityscapesSource(self.root)
