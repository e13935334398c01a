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
from datamodules.errors import DataError
from datamodules.sets.class_names import ADE20K
from datamodules.storage.label_maps import Labelled, LabelMapSource, in_order, table
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

FOLDER = "ADEChallengeData2016"


def _archive_part(path: str, content: str) -> Part:
    return Part(
        path=f"{FOLDER}/{path}",
        content=content,
        count=2_000,
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        checksum="sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
        size=967_382_037,
        unpack=".",
        alternatives=(path,),
    )


LAYOUT = Layout(
    name="ADE20k",
    title="ADE20k (scene parsing challenge)",
    page="http://sceneparsing.csail.mit.edu",
    licence="photographs: non-commercial research and education; see the page",
    size="1 GB",
    root="data/ade20k",
    parts=(
        _archive_part("images/validation/*.jpg", "photographs"),
        _archive_part("annotations/validation/*.png", "label maps"),
    ),
    judged_on="150 classes of pixels",
    counts=(SplitCounts("val", 2_000), SplitCounts("test", 2_000, note="the same")),
)


class ADE20KSource(LabelMapSource):
    """One subset, ``validation`` or ``training``.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: there is no image.
    """

    def __init__(self, root: Path, subset: str = "validation") -> None:
        folder = root / FOLDER if (root / FOLDER).is_dir() else root
        images = folder / "images" / subset
        labels = folder / "annotations" / subset
        LocalCopy(LAYOUT, root).require(images, labels)
        files = [
            Labelled(path.stem, path, labels / f"{path.stem}.png") for path in sorted(images.glob("*.jpg"))
        ]
        if not files:
            raise DataError(f"{images} holds no image; it must hold ADE_*.jpg.")
        super().__init__(files, ADE20K, table(in_order(range(1, 151)) | {0: IGNORED}))


class ADE20k(GroundingDataModule):
    """ADE20K, 150 classes. Both ``validate`` and ``test`` judge on its validation images, as the papers do:
    labels of its test images are not public.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "ade20k"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/ade20k"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> ADE20KSource:
        """The validation images, for every split."""
        return ADE20KSource(self.root)
