"""PASCAL Context, as MMSegmentation lays it out (59 numbers) or as its publishers ship it (459 categories in
Matlab files).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from datamodules.sets.class_names import PASCAL_CONTEXT
from tests.fakes.judged import Judged, label_map, save_numbers, save_photo

# The publisher's list is alphabetical and holds much that is not among the 59.
CATEGORIES = sorted([*PASCAL_CONTEXT, *(f"thing {number}" for number in range(400))])


def write(root: Path, background: bool = True, published: bool = False) -> Judged:
    """Two sound images, one with a broken label map, one whose label map is missing."""
    folder = root / "VOC2010"
    names = [f"2008_{number:06d}" for number in range(4)]
    records = {}
    for number, name in enumerate(names):
        seen = save_photo(folder / "JPEGImages" / f"{name}.jpg", number)
        labels = label_map(number, [0, 1, 11, 52, 59])
        if number == 3:
            continue
        if published:
            categories = np.array([900, *(CATEGORIES.index(entry) + 1 for entry in PASCAL_CONTEXT)])
            categories[0] = CATEGORIES.index("thing 7") + 1
            path = folder / "trainval" / f"{name}.mat"
            path.parent.mkdir(exist_ok=True)
            savemat(path, {"LabelMap": categories[labels].astype(np.uint16)})
        else:
            path = folder / "SegmentationClassContext" / f"{name}.png"
            save_numbers(path, labels)
        if number == 2:
            path.write_bytes(path.read_bytes()[:100])
        else:
            records[name] = (
                seen,
                (labels if background else np.where(labels == 0, 255, labels - 1)).tolist(),
            )
    if published:
        (folder / "labels.txt").write_text(
            "\n".join(f"{number}: {name}" for number, name in enumerate(CATEGORIES, start=1))
        )
    listing = folder / "ImageSets" / ("Main" if published else "SegmentationContext") / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("\n".join(names))
    needed = [folder / "labels.txt"] if published else [folder / "SegmentationClassContext"]
    return Judged(
        {"root": root, "background": background},
        records,
        [folder / "JPEGImages", listing, *needed],
        skipped=set(names[2:]),
    )
