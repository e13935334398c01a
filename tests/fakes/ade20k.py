"""ADE20K: 0 is what is none of the 150 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fakes.judged import Judged, label_map, save_numbers, save_photo


def write(root: Path) -> Judged:
    """Two sound images (one grey), one with a number beyond 150, one whose label map is missing."""
    folder = root / "ADEChallengeData2016"
    records = {}
    names = [f"ADE_val_{number:08d}" for number in range(1, 5)]
    for number, name in enumerate(names):
        seen = save_photo(folder / "images" / "validation" / f"{name}.jpg", number)
        numbers = label_map(number, [0, 1, 75, 151 if number == 2 else 150])
        if number < 3:
            save_numbers(folder / "annotations" / "validation" / f"{name}.png", numbers)
        if number < 2:
            records[name] = (seen, np.where(numbers == 0, 255, numbers - 1).tolist())
    needed = [folder / "images" / "validation", folder / "annotations" / "validation"]
    return Judged({"root": root}, records, needed, skipped=set(names[2:]))
