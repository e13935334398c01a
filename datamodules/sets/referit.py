"""ReferIt, also called RefCLEF (Kazemzadeh et al. 2014, "ReferItGame"): expressions for regions of the SAIAPR
TC-12 photographs.

Layout below ``root``: as REFER ships it, ``refclef/{instances.json,refs(unc).p,refs(berkeley).p}`` and
``saiapr_tc-12/<00>/images/<id>.jpg``; or as the reference codes of MultiGrounding and WWbL want it,
``ReferIt_Splits/`` with the same files, and ``ReferIt_Images/``. MultiGrounding's lists of images,
``referit_{train,val,test}_imlist.txt``, lie in ``root`` or beside the annotations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.errors import DataError
from datamodules.sets.refer import DEAD_LINKS, PAGE, NamedSplit, ReferDataModule, archive
from datamodules.sets.refer_annotations import ReferAnnotations
from datamodules.storage.layout import Layout, Part, SplitCounts

FOLDERS = ("refclef", "ReferIt_Splits", ".")
IMAGE_FOLDERS = ("saiapr_tc-12", "images/saiapr_tc-12", "ReferIt_Images")
LISTING = "referit_{}_imlist.txt"  # of MultiGrounding, by split
MULTIGROUNDING = {"split_by": "multigrounding"}


def _annotations(name: str, content: str, split_by: str = "") -> Part:
    return Part(
        f"refclef/{name}",
        content,
        1,
        by_hand=archive("refclef.zip"),
        needed_if={"split_by": split_by} if split_by else {},
        alternatives=(f"ReferIt_Splits/{name}", name),
    )


def _list(name: str) -> Part:
    return Part(
        name,
        "list of images",
        1,
        by_hand="from https://github.com/hassanhub/MultiGrounding (data/referit); "
        "split_by=berkeley needs none",
        needed_if=MULTIGROUNDING,
        alternatives=(f"refclef/{name}", f"ReferIt_Splits/{name}"),
    )


LAYOUT = Layout(
    name="ReferIt",
    title="ReferIt (RefCLEF, on SAIAPR TC-12)",
    page=PAGE,
    licence="unknown for the annotations and their photographs",
    size="unknown",
    root="data/referit",
    options=MULTIGROUNDING,
    parts=(
        _annotations("instances.json", "boxes and masks"),
        _annotations("refs(unc).p", "expressions", "multigrounding|unc"),
        _annotations("refs(berkeley).p", "expressions", "berkeley"),
        Part(
            f"{IMAGE_FOLDERS[0]}/*/images/*.jpg",
            "photographs",
            19_997,
            by_hand=archive("images/saiapr_tc-12.zip"),
            folder_option=("images", "*/images/*.jpg"),
            alternatives=tuple(f"{folder}/*/images/*.jpg" for folder in IMAGE_FOLDERS[1:]),
        ),
        *(_list(LISTING.format(split)) for split in ("train", "val", "test")),
    ),
    trains_on="images with expressions",
    judged_on="expressions with boxes and masks",
    counts=(
        SplitCounts("train", 9_000, needed_if=MULTIGROUNDING, note="listed"),
        SplitCounts("val", 1_000, needed_if=MULTIGROUNDING, note="listed"),
        SplitCounts("test", 9_983, needed_if=MULTIGROUNDING, note="of 10,000 listed, those with expressions"),
    ),
    dead_links=DEAD_LINKS,
)


class ReferIt(ReferDataModule):
    """ReferIt. A query is a sentence of an object, repetitions left out, as in the reference codes; each has
    one box.

    Args:
        root: folder of the data set, laid out as above.
        images: of the photographs; by default the folder in the layout.
        split_by: ``multigrounding`` takes the objects of ``refs(unc).p`` that lie in the images of
            ``referit_<split>_imlist.txt`` (1,000 to validate and 10,000 to test on, of which 9,983 have
            objects), as g and WWbL do; ``berkeley`` (train, val, test) and ``unc`` (train, val, testA, testB,
            testC) take the splits that are written in ``refs(<split_by>).p``.
        split: the one split that ``test`` judges on; by default all tests.
        masks: give each query the mask of its object.
        whole_pixels: as MultiGrounding's preprocessing, on which WWbL builds, cut boxes to integers and leave
            out objects whose box ends beyond the image; SelfEQ does neither.
        kwargs: as for `GroundingDataModule`.
    """

    name = "referit"
    layout = LAYOUT
    unique = True
    folders = FOLDERS
    image_folders = IMAGE_FOLDERS

    def __init__(
        self,
        root: Path = Path("data/referit"),
        images: Path | None = None,
        split_by: Literal["multigrounding", "berkeley", "unc"] = "multigrounding",
        split: NamedSplit | None = None,
        masks: bool = False,
        whole_pixels: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, images, split_by, split, masks, **kwargs)
        self.whole_pixels = whole_pixels

    @property
    def refs(self) -> str:
        """Whose ``refs(...).p`` is read."""
        return "unc" if self.split_by == "multigrounding" else self.split_by

    def test_sets(self, annotations: ReferAnnotations) -> list[str]:
        """What ``test`` judges on."""
        if self.split_by == "multigrounding" and not self.split:
            return ["test"]
        return super().test_sets(annotations)

    def rows(self, annotations: ReferAnnotations, *splits: str) -> np.ndarray:
        """The references of some splits."""
        if self.split_by != "multigrounding":
            return super().rows(annotations, *splits)
        names = [LISTING.format(split) for split in splits]
        folder = self.root if (self.root / names[0]).exists() else annotations.refs.parent
        listings = [folder / name for name in names]
        self.local_copy.require(*listings)
        numbers: list[int] = []
        for listing in listings:
            numbers.extend(_read_numbers(listing))
        return annotations.rows_of_images(numbers)


def _read_numbers(listing: Path) -> list[int]:
    """The image numbers in a list. Raises `DataError`."""
    try:
        numbers = [int(word) for word in listing.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{listing}: not readable as a list of image numbers ({error}).") from error
    if not numbers:
        raise DataError(f"{listing} names no image; it must hold one image number a line.")
    return numbers
