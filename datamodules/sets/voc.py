"""PASCAL VOC 2012 segmentation (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4): 1,449 images to be
judged on.

Layout below ``root``, as its publishers ship it (``root`` may also be the folder above, or one with
``VOCdevkit/``): ``VOC2012/JPEGImages/<id>.jpg``, ``VOC2012/SegmentationClass/<id>.png`` (palette images; 0
background, 255 void) and ``VOC2012/ImageSets/Segmentation/{train,val}.txt``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import require_paths
from datamodules.sets.class_names import BACKGROUND, VOC, in_plain_english
from datamodules.storage.label_maps import Labelled, LabelMapSource, in_order, listed_names, table

REMEDY = "Set --data.root; VOCtrainval_11-May-2012.tar is had from host.robots.ox.ac.uk/pascal/VOC/voc2012."


def devkit(root: Path, year: str) -> Path:
    """The folder ``VOC<year>`` at or below ``root``."""
    return next((found for found in (root / "VOCdevkit" / year, root / year) if found.is_dir()), root)


class VOCSource(LabelMapSource):
    """One list of ``ImageSets/Segmentation``.

    Args:
        root: folder of the layout above.
        subset: name of the list.
        background: 21 classes, of which background is the first; otherwise 20, and background is not judged.
        plain_english: class names as MaskCLIP writes them ("airplane").

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the list names no image.
    """

    def __init__(
        self, root: Path, subset: str = "val", background: bool = True, plain_english: bool = False
    ) -> None:
        folder, listing = devkit(root, "VOC2012"), f"ImageSets/Segmentation/{subset}.txt"
        require_paths(
            "PASCAL VOC 2012",
            folder,
            ["JPEGImages", "SegmentationClass", listing],
            f"JPEGImages/, SegmentationClass/ and {listing}",
            REMEDY,
        )
        names = in_plain_english(VOC) if plain_english else VOC
        super().__init__(
            [
                Labelled(
                    name, folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClass" / f"{name}.png"
                )
                for name in listed_names(folder / listing)
            ],
            (BACKGROUND, *names) if background else names,
            table(in_order(range(21)) if background else in_order(range(1, 21)) | {0: IGNORED}),
        )


class PascalVOC(GroundingDataModule):
    """PASCAL VOC 2012 segmentation. Both ``validate`` and ``test`` judge on its val list, as the papers do:
    labels of its test list are not public.

    Args:
        root: folder of the layout above.
        background: VOC-21 (TCL, TTD) or, without background, VOC-20 (MaskCLIP's protocol).
        plain_english: class names as MaskCLIP writes them.
        kwargs: as for `GroundingDataModule`.
    """

    name = "voc"

    def __init__(
        self,
        root: Path = Path("data/voc2012"),
        background: bool = True,
        plain_english: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.background, self.plain_english = Path(root), background, plain_english
        self.name = "voc21" if background else "voc20"

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> VOCSource:
        return VOCSource(self.root, "val", self.background, self.plain_english)
