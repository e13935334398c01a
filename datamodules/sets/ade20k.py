"""ADE20K in the form of its scene parsing challenge (Zhou et al. 2017, arXiv:1608.05442): 150 classes, 2,000
images to be judged on.

Layout below ``root`` (or ``ADEChallengeData2016/`` in it), as its publishers ship it:
``images/validation/<name>.jpg`` and ``annotations/validation/<name>.png`` (0 other, not judged; 1 to 150
classes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import IGNORED
from datamodules.errors import DataError, require_paths
from datamodules.sets.class_names import ADE20K
from datamodules.storage.label_maps import Labelled, LabelMapSource, in_order, table

REMEDY = "Set --data.root; ADEChallengeData2016.zip is had from sceneparsing.csail.mit.edu."


class ADE20KSource(LabelMapSource):
    """One subset, ``validation`` or ``training``.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: there is no image.
    """

    def __init__(self, root: Path, subset: str = "validation") -> None:
        folder = root / "ADEChallengeData2016" if (root / "ADEChallengeData2016").is_dir() else root
        images, labels = f"images/{subset}", f"annotations/{subset}"
        require_paths("ADE20K", folder, [images, labels], f"{images}/ and {labels}/", REMEDY)
        files = [
            Labelled(image.stem, image, folder / labels / f"{image.stem}.png")
            for image in sorted((folder / images).glob("*.jpg"))
        ]
        if not files:
            raise DataError(f"{folder / images} holds no image; it must hold ADE_*.jpg.")
        super().__init__(files, ADE20K, table(in_order(range(1, 151)) | {0: IGNORED}))


class ADE20k(GroundingDataModule):
    """ADE20K, 150 classes. Both ``validate`` and ``test`` judge on its validation images, as the papers do:
    labels of its test images are not public.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "ade20k"

    def __init__(self, root: Path = Path("data/ade20k"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> ADE20KSource:
        return ADE20KSource(self.root)
