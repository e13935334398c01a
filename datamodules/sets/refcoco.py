"""RefCOCO, RefCOCO+ (Yu et al. 2016, arXiv:1608.00272) and RefCOCOg (Mao et al. 2016, arXiv:1511.02283):
expressions for objects of COCO's train2014.

Layout below ``root``, as REFER ships it: ``refcoco/``, ``refcoco+/``, ``refcocog/``, each with
``instances.json`` and ``refs(<split_by>).p``, and the photographs of COCO in ``train2014/``, in
``images/mscoco/images/train2014/``, in ``../coco/train2014/``, or where ``images`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from datamodules.sets import coco_files
from datamodules.sets.refer import DEAD_LINKS, PAGE, NamedSplit, ReferDataModule, archive
from datamodules.storage.layout import Layout, Part, SplitCounts

IMAGE_FOLDERS = ("train2014", "images/mscoco/images/train2014", "images/train2014", "../coco/train2014")


def _parts(folder: str, *owners: str) -> tuple[Part, ...]:
    """The parts of RefCOCO and its kin.

    Args:
        folder: of the annotations.
        owners: who split the data; several are told apart by the option ``split_by``.
    """
    by_hand = archive(f"{folder}.zip")
    references = [
        Part(
            f"{folder}/refs({owner}).p",
            "expressions",
            1,
            by_hand=by_hand,
            needed_if={"split_by": owner} if len(owners) > 1 else {},
            alternatives=(f"refs({owner}).p",),
        )
        for owner in owners
    ]
    return (
        Part(
            f"{folder}/instances.json",
            "boxes and masks",
            1,
            by_hand=by_hand,
            alternatives=("instances.json",),
        ),
        *references,
        coco_files.photographs(
            "train2014",
            folder_option="images",
            alternatives=tuple(f"{images}/*.jpg" for images in IMAGE_FOLDERS[1:]),
        ),
    )


def _counts(
    splits: dict[str, tuple[int, int]], needed_if: Mapping[str, str] | None = None
) -> tuple[SplitCounts, ...]:
    """Images and expressions by split."""
    return tuple(
        SplitCounts(split, images, expressions, needed_if=needed_if or {})
        for split, (images, expressions) in splits.items()
    )


REFCOCO = Layout(
    name="RefCOCO",
    title="RefCOCO",
    page=PAGE,
    licence=f"annotations: the repository is under Apache-2.0; {coco_files.LICENCE}",
    size="14 GB with COCO's train2014",
    root="data/refcoco",
    options={"split_by": "unc"},
    parts=_parts("refcoco", "unc", "google"),
    trains_on="images with expressions",
    judged_on="expressions with boxes and masks",
    counts=_counts(
        {"train": (16_994, 120_624), "val": (1_500, 10_834), "testA": (750, 5_657), "testB": (750, 5_095)},
        {"split_by": "unc"},
    ),
    dead_links=DEAD_LINKS,
)
REFCOCO_PLUS = replace(
    REFCOCO,
    name="RefCOCOPlus",
    title="RefCOCO+",
    options={},
    parts=_parts("refcoco+", "unc"),
    counts=_counts(
        {"train": (16_992, 120_191), "val": (1_500, 10_758), "testA": (750, 5_726), "testB": (750, 4_889)}
    ),
)
REFCOCOG = replace(
    REFCOCO,
    name="RefCOCOg",
    title="RefCOCOg",
    options={"split_by": "umd"},
    parts=_parts("refcocog", "umd", "google"),
    counts=(
        *_counts(
            {"train": (21_899, 80_512), "val": (1_300, 4_896), "test": (2_600, 9_602)}, {"split_by": "umd"}
        ),
        *_counts({"train": (24_698, 85_474), "val": (4_650, 9_536)}, {"split_by": "google"}),
    ),
)


class RefCOCO(ReferDataModule):
    """RefCOCO. Its tests, people (testA) and other things (testB), are judged as two sets ``refcoco_testA``
    and ``refcoco_testB``.

    Args:
        root: folder of the data set, laid out as above.
        images: COCO's train2014; by default one of the folders above.
        split_by: ``unc`` (by images: train, val, testA, testB) or ``google`` (by objects: train, val, test).
        split: the one split that ``test`` judges on; by default all tests.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name = "refcoco"
    layout = REFCOCO
    folders = ("refcoco", ".")
    image_folders = IMAGE_FOLDERS

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split_by: Literal["unc", "google"] = "unc",
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split_by, split, masks, **kwargs)


class RefCOCOPlus(ReferDataModule):
    """RefCOCO+, whose expressions name no places. Its tests are the sets ``refcoco_plus_testA`` (people) and
    ``refcoco_plus_testB`` (other things).

    Args:
        root: folder of the data set, laid out as above.
        images: COCO's train2014; by default one of the folders above.
        split: the one split that ``test`` judges on; by default all tests.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name = "refcoco_plus"
    layout = REFCOCO_PLUS
    folders = ("refcoco+", ".")
    image_folders = IMAGE_FOLDERS

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, "unc", split, masks, **kwargs)


class RefCOCOg(ReferDataModule):
    """RefCOCOg, with longer expressions.

    Args:
        root: folder of the data set, laid out as above.
        images: COCO's train2014; by default one of the folders above.
        split_by: ``umd`` (by images: train, val, test) or ``google`` (by objects: train, val; the test was
            never published).
        split: the one split that ``test`` judges on; by default ``test``.
        masks: give each query the mask of its object.
        kwargs: as for `GroundingDataModule`.
    """

    name = "refcocog"
    layout = REFCOCOG
    folders = ("refcocog", ".")
    image_folders = IMAGE_FOLDERS

    def __init__(
        self,
        root: Path = Path("data/refcoco"),
        images: Path | None = None,
        split_by: Literal["umd", "google"] = "umd",
        split: NamedSplit | None = None,
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split_by, split, masks, **kwargs)
