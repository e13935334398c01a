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

from datamodules.errors import DataError, require_paths
from datamodules.sets.refer import SERVER, NamedSplit, ReferAnnotations, ReferDataModule

LISTS = "the lists of 9,000, 1,000 and 10,000 images are had from github.com/hassanhub/MultiGrounding (data/referit)"


class ReferIt(ReferDataModule):
    """ReferIt. A query is a sentence of an object, repetitions left out, as in the reference codes; each has
    one box.

    Args:
        root: folder of the layout above.
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

    name, title, unique = "referit", "ReferIt", True
    folders, image_folders = (
        ("refclef", "ReferIt_Splits", "."),
        ("saiapr_tc-12", "images/saiapr_tc-12", "ReferIt_Images"),
    )
    remedy = f"Set --data.images or --data.root. {SERVER}"

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
        return "unc" if self.split_by == "multigrounding" else self.split_by

    def test_sets(self, annotations: ReferAnnotations) -> list[str]:
        return (
            ["test"]
            if self.split_by == "multigrounding" and not self.split
            else super().test_sets(annotations)
        )

    def rows(self, annotations: ReferAnnotations, *splits: str) -> np.ndarray:
        if self.split_by != "multigrounding":
            return super().rows(annotations, *splits)
        names = [f"referit_{split}_imlist.txt" for split in splits]
        folder = self.root if (self.root / names[0]).exists() else annotations.refs.parent
        require_paths(
            self.title,
            folder,
            names,
            "the lists of images",
            f"Set --data.split_by berkeley, which needs none; {LISTS}.",
        )
        return annotations.rows_of_images([number for name in names for number in _numbers(folder / name)])


def _numbers(listing: Path) -> list[int]:
    try:
        if found := [int(word) for word in listing.read_text(encoding="utf-8").split()]:
            return found
    except (OSError, ValueError) as error:
        raise DataError(f"{listing}: not readable as a list of image numbers ({error}).") from error
    raise DataError(f"{listing} names no image; it must hold one image number a line.")
