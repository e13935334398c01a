"""NUS-WIDE: a list with backslashes, and a file of zeros and ones for each of 81 concepts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.sets.class_names import NUS_WIDE
from tests.fakes.judged import Judged, save_photo

IMAGES = ["actor/0001_2124494179.jpg", "zebra crossing/0002_1.jpg", "food/0003_2.jpg"]


def write(root: Path) -> Judged:
    """Three images, one of which is gone."""
    shown = np.random.default_rng(0).random((3, 81)) < 0.3
    shown[1] = False
    for folder in ("ImageList", "Groundtruth/TrainTestLabels"):
        (root / folder).mkdir(parents=True)
    listing = root / "ImageList" / "TestImagelist.txt"
    listing.write_text("\r\n".join(name.replace("/", "\\") for name in IMAGES) + "\r\n")
    for concept, marks in zip(NUS_WIDE, shown.T, strict=True):
        path = root / "Groundtruth" / "TrainTestLabels" / f"Labels_{concept}_Test.txt"
        path.write_text("".join(f"{int(mark)}\n" for mark in marks))
    seen = [save_photo(root / "Flickr" / name, number) for number, name in enumerate(IMAGES[:2])]
    records = {
        name: (seen[n], [concept for concept, mark in zip(NUS_WIDE, shown[n], strict=True) if mark])
        for n, name in enumerate(IMAGES[:2])
    }
    return Judged({"root": root}, records, [listing, root / "Flickr", path], skipped={IMAGES[2]})
