"""PASCAL VOC 2012: palette images, 0 background and 255 void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.fakes.judged import SIZE, Judged, label_map, save_numbers, save_photo


def write(root: Path, background: bool = True) -> Judged:
    """Three sound images; one whose label map is missing, one whose map is of another size, truncated, in
    colours, or holds an unknown number; one without a photograph."""
    folder = root / "VOCdevkit" / "VOC2012"
    records = {}
    names = [f"2007_{number:06d}" for number in range(10)]
    for number, name in enumerate(names):
        if number != 9:
            seen = save_photo(folder / "JPEGImages" / f"{name}.jpg", number)
        path = folder / "SegmentationClass" / f"{name}.png"
        numbers = label_map(number, [0, 1, 15, 20, 255])
        if number < 3:
            save_numbers(path, numbers, "P")
            labels = numbers if background else np.where((numbers == 0) | (numbers == 255), 255, numbers - 1)
            records[name] = (seen, labels.tolist())
        elif number == 4:
            save_numbers(path, label_map(4, [0, 1], (SIZE[1], SIZE[0])), "P")
        elif number == 5:
            path.write_bytes((folder / "SegmentationClass" / f"{names[0]}.png").read_bytes()[:60])
        elif number == 6:
            Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
        elif number == 7:
            save_numbers(path, label_map(7, [0, 21]), "P")
        elif number == 8:
            path.write_bytes(b"")
        elif number == 9:
            save_numbers(path, numbers, "P")
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("\n".join(names) + "\n\n")
    return Judged(
        arguments={"root": root, "background": background},
        records=records,
        needed=[folder / "JPEGImages", folder / "SegmentationClass", listing],
        skipped=set(names[3:]),
    )
