"""What all data sets on COCO's photographs share: its archives as parts of a layout, and its folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datamodules.storage.layout import Part
from datamodules.storage.local_copy import LocalCopy

PAGE = "https://cocodataset.org"
LICENCE = "COCO's annotations CC BY 4.0, its photographs under their Flickr licences"
SERVER = "http://images.cocodataset.org"
KARPATHY_ZIP = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"

# subset -> photographs, bytes and checksum of its archive
ARCHIVES = {
    "train2014": (
        82_783,
        13_510_573_713,
        "sha256:ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    ),
    "val2014": (
        40_504,
        6_645_013_297,
        "sha256:fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    ),
    "train2017": (
        118_287,
        19_336_861_798,
        "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017": (
        5_000,
        815_585_330,
        "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
}
# year -> bytes and checksum of the archive of annotations
ANNOTATIONS = {
    "2014": (252_872_794, "sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009"),
    "2017": (252_907_541, "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"),
}


def photographs(
    subset: str,
    needed_if: Mapping[str, str] | None = None,
    folder_option: str | None = None,
    alternatives: tuple[str, ...] = (),
) -> Part:
    """The photographs of a subset.

    Args:
        subset: such as ``train2014``.
        needed_if: as for `Part`.
        folder_option: the option that names their folder, if the data set has one.
        alternatives: other paths than ``images/<subset>/*.jpg`` at which they may lie.
    """
    count, size, checksum = ARCHIVES[subset]
    return Part(
        path=f"{subset}/*.jpg",
        content=f"photographs of {subset}",
        count=count,
        url=f"{SERVER}/zips/{subset}.zip",
        checksum=checksum,
        size=size,
        unpack=".",
        needed_if=needed_if or {},
        alternatives=alternatives or (f"images/{subset}/*.jpg",),
        folder_option=None if folder_option is None else (folder_option, "*.jpg"),
    )


def annotation_file(name: str, content: str, needed_if: Mapping[str, str] | None = None) -> Part:
    """A file of annotations.

    Args:
        name: such as ``captions_train2014``; it ends with the year.
        content: what it is.
        needed_if: as for `Part`.
    """
    year = name[-4:]
    size, checksum = ANNOTATIONS[year]
    return Part(
        path=f"annotations/{name}.json",
        content=content,
        count=1,
        url=f"{SERVER}/annotations/annotations_trainval{year}.zip",
        checksum=checksum,
        size=size,
        unpack=".",
        needed_if=needed_if or {},
    )


def karpathy_list(needed_if: Mapping[str, str] | None = None) -> Part:
    """Captions and splits of Karpathy and Fei-Fei 2015 (arXiv:1412.2306)."""
    return Part(
        path="dataset_coco.json",
        content="captions and splits",
        count=1,
        url=KARPATHY_ZIP,
        unpack=".",
        needed_if=needed_if or {},
        alternatives=("annotations/dataset_coco.json",),
    )


def image_folder(copy: LocalCopy, subset: str) -> Path:
    """The folder of the images of a subset. Raises `DatasetNotFoundError`."""
    return copy.first_existing(copy.root / subset, copy.root / "images" / subset)
