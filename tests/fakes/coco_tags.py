"""COCO 2017 with captions and outlines: the images of `tests.fakes.coco_segmentation.write_instances`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import coco_segmentation
from tests.fakes.coco_segmentation import NAMES
from tests.fakes.judged import Judged

# By image: its captions as words, and for each word True or False as a tag, None where nobody knows.
CAPTIONS: dict[int, list[list[tuple[str, bool | None]]]] = {
    1: [
        [("A", None), ("man", True), ("and", None), ("Puppies", True), (",", None), ("kitten", False)],
        [("TOOTH", True), ("brush", True), ("next", None), ("to", None), ("it", None), (".", None)],
    ],
    2: [[("parked", None), ("cars", True)]],
    3: [[("a", None), ("hot", False), ("dog", False)]],
    4: [[("a", None), ("plane", True)]],  # its outline is broken
    5: [[("a", None), ("jet", True)]],  # likewise
}


def write(root: Path) -> Judged:
    """Tags of one and of two words, of objects that overlap, and of a crowd; names of what is not there."""
    fake = coco_segmentation.write_instances(root)
    spoken = [(image, words) for image, captions in CAPTIONS.items() for words in captions]
    annotations = [
        {"id": n, "image_id": image, "caption": " ".join(word for word, _ in words)}
        for n, (image, words) in enumerate(spoken)
    ]
    images = [{"id": int(name), "file_name": f"{name}.jpg"} for name in NAMES]
    path = root / "annotations" / "captions_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))

    man, dog = np.zeros((2, 12, 16), bool)
    man[2:10, 2:12] = True
    dog[4:7, 4:7] = True
    labels = {name: np.array(fake.records[name][1]) for name in NAMES[:3]}
    brush = labels[NAMES[0]] == 80
    regions: dict[str, list[Any]] = {
        f"{NAMES[0]}/0": [man, dog],  # an outline of its own for each, whatever lies on top
        f"{NAMES[0]}/1": [brush, brush],
        f"{NAMES[1]}/0": [labels[NAMES[1]] == 3],
        f"{NAMES[2]}/0": [],
    }
    records: dict[str, Any] = {}
    for image, captions in CAPTIONS.items():
        for number, words in enumerate(captions):
            key = f"{NAMES[image - 1]}/{number}"
            if key in regions:
                seen = fake.records[NAMES[image - 1]][0]
                masks = [region.tolist() for region in regions[key]]
                records[key] = (seen, [word for word, _ in words], [tag for _, tag in words], masks)
    skipped = {f"{NAMES[3]}/0", f"{NAMES[4]}/0"}
    return Judged({"root": root}, records, [*fake.needed, path], fake.broken, skipped)
