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
from datamodules.sets.class_names import BACKGROUND, VOC, in_plain_english
from datamodules.storage.label_maps import Labelled, LabelMapSource, in_order, table
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.text_files import listed_names


def devkit(root: Path, year: str) -> Path:
    """The folder ``VOC<year>`` at or below ``root``."""
    for folder in (root / "VOCdevkit" / year, root / year):
        if folder.is_dir():
            return folder
    return root


def devkit_paths(year: str, path: str) -> tuple[str, ...]:
    """Where a file of the development kit may lie below ``root``, the publisher's place first."""
    return f"VOCdevkit/{year}/{path}", f"{year}/{path}", path


def _archive_part(path: str, content: str, count: int) -> Part:
    published, *alternatives = devkit_paths("VOC2012", path)
    return Part(
        path=published,
        content=content,
        count=count,
        url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        checksum="sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        size=1_999_639_040,
        unpack=".",
        alternatives=tuple(alternatives),
    )


LAYOUT = Layout(
    name="PascalVOC",
    title="PASCAL VOC 2012 segmentation",
    page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    licence="photographs: Flickr terms of use",
    size="2 GB",
    root="data/voc2012",
    parts=(
        _archive_part("JPEGImages/*.jpg", "photographs", 17_125),
        _archive_part("SegmentationClass/*.png", "label maps", 2_913),
        _archive_part("ImageSets/Segmentation/val.txt", "ids of val", 1),
    ),
    judged_on="20 classes of pixels, with background 21",
    counts=(
        SplitCounts("val", 1_449),
        SplitCounts("test", 1_449, note="the same: labels of its test list are not public"),
    ),
    dead_links="host.robots.ox.ac.uk is often slow; the same university's thor.robots.ox.ac.uk is used.",
)


class VOCSource(LabelMapSource):
    """One list of ``ImageSets/Segmentation``.

    Args:
        root: folder of the data set, laid out as above.
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
        folder = devkit(root, "VOC2012")
        images = folder / "JPEGImages"
        label_maps = folder / "SegmentationClass"
        listing = folder / "ImageSets" / "Segmentation" / f"{subset}.txt"
        LocalCopy(LAYOUT, root).require(images, label_maps, listing)
        files = [
            Labelled(name, images / f"{name}.jpg", label_maps / f"{name}.png")
            for name in listed_names(listing)
        ]
        names = in_plain_english(VOC) if plain_english else VOC
        if background:
            super().__init__(files, (BACKGROUND, *names), table(in_order(range(21))))
        else:
            super().__init__(files, names, table(in_order(range(1, 21)) | {0: IGNORED}))


class PascalVOC(GroundingDataModule):
    """PASCAL VOC 2012 segmentation. Both ``validate`` and ``test`` judge on its val list, as the papers do:
    labels of its test list are not public.

    Args:
        root: folder of the data set, laid out as above.
        background: VOC-21 (TCL, TTD) or, without background, VOC-20 (MaskCLIP's protocol).
        plain_english: class names as MaskCLIP writes them.
        kwargs: as for `GroundingDataModule`.
    """

    name = "voc"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/voc2012"),
        background: bool = True,
        plain_english: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.background = background
        self.plain_english = plain_english
        self.name = "voc21" if background else "voc20"

    def evaluation_source(self, split: Split) -> VOCSource:
        """The val list, for every split."""
        return VOCSource(self.root, "val", self.background, self.plain_english)
