"""COCO 2017 with classes for pixels: label maps as published and as others convert them, and outlines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.judged import SIZE, Judged, label_map, save_numbers, save_photo

NAMES = [f"{number:012d}" for number in range(1, 6)]
# Category number less one -> label. 11 and 90 are numbers that COCO counts but does not use.
OBJECTS = {0: 1, 10: 11, 12: 12, 89: 80, 11: 0, 90: 0, 91: 0, 181: 0, 255: 255}
STUFF = {0: 0, 10: 10, 12: 11, 89: 79, 11: 255, 90: 255, 91: 80, 181: 170, 255: 255}


def _write_maps(root: Path, meaning: dict[int, int], converted: str, highest: int) -> Judged:
    """An image with published numbers, one with converted labels beside others, one with a label that is too
    high, one without photograph.
    """
    maps = root / "stuffthingmaps_trainval2017" / "val2017"
    records = {}
    for number, name in enumerate(NAMES[:4]):
        numbers = label_map(number, meaning)
        save_numbers(maps / f"{name}.png", numbers)
        if number < 3:
            seen = save_photo(root / "val2017" / f"{name}.jpg", number)
        if number == 0:
            records[name] = (seen, np.vectorize(meaning.get)(numbers).tolist())
        if number == 1:
            labels = label_map(9, [0, highest, 255])
            save_numbers(maps / f"{name}_{converted}.png", labels)
            records[name] = (seen, labels.tolist())
        if number == 2:
            save_numbers(maps / f"{name}_{converted}.png", label_map(9, [0, highest + 1]))
    save_numbers(maps / f"{NAMES[0]}_somethingElse.png", label_map(9, [3]))
    return Judged({"root": root}, records, [root / "val2017", maps], skipped=set(NAMES[2:4]))


def write(root: Path) -> Judged:
    """COCO-Object from label maps."""
    return _write_maps(root, OBJECTS, "instanceTrainIds", 80)


def write_cocostuff(root: Path) -> Judged:
    """COCO-Stuff."""
    return _write_maps(root, STUFF, "labelTrainIds", 170)


def outline(x0: int, y0: int, x1: int, y1: int) -> list[float]:
    """Of all pixels from (x0, y0) to before (x1, y1)."""
    return [x0 + 0.1, y0 + 0.1, x1 - 0.1, y0 + 0.1, x1 - 0.1, y1 - 0.1, x0 + 0.1, y1 - 0.1]


def labels_of_instances(crowd: np.ndarray) -> np.ndarray:
    """(3,H,W), what the objects of `write_instances` make of the first images."""
    labels = np.zeros((3, *SIZE), np.uint8)
    labels[0, 2:10, 2:12] = 1
    labels[0, :2, :2] = 80
    labels[0, 9:, 13:] = 80
    labels[0, 4:7, 4:7] = 17
    labels[1][crowd] = 3
    return labels


def write_instances(root: Path) -> Judged:
    """COCO-Object from outlines: a small object on a large one, an object of two parts, a crowd, an image
    without objects, one with a broken outline; an object of a category and one of an image that are not
    listed."""
    height, width = SIZE
    for number, name in enumerate(NAMES):
        save_photo(root / "val2017" / f"{name}.jpg", number)

    crowd = np.zeros(SIZE, bool)
    crowd[2:5, 3:9] = True
    changes = np.flatnonzero(np.diff(np.concatenate([[False], crowd.T.ravel()]))).tolist()
    runs = np.diff([0, *changes, crowd.size]).tolist()
    objects: list[tuple[int, int, Any, float]] = [
        (1, 18, [outline(4, 4, 7, 7)], 9),
        (1, 1, [outline(2, 2, 12, 10)], 80),
        (1, 90, [outline(0, 0, 2, 2), outline(13, 9, 16, 12)], 13),
        (2, 3, {"size": list(SIZE), "counts": runs}, 18),
        (4, 5, {"size": [width, height], "counts": runs}, 18),
        (5, 5, [[1.0, 2.0, 3.0]], 18),
        (5, 12, [outline(0, 0, 2, 2)], 4),
        (77, 5, [outline(0, 0, 2, 2)], 4),
    ]
    annotations = [
        {
            "id": 100 + n,
            "image_id": image,
            "category_id": category,
            "segmentation": mask,
            "area": area,
            "iscrowd": int(isinstance(mask, dict)),
        }
        for n, (image, category, mask, area) in enumerate(objects)
    ]
    images = [
        {"id": int(name), "file_name": f"{name}.jpg", "height": height, "width": width} for name in NAMES
    ]
    path = root / "annotations" / "instances_val2017.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"annotations": annotations, "images": [*images, {"id": 9}], "categories": []})
    )

    labels = labels_of_instances(crowd)
    records = {
        name: (save_photo(root / "val2017" / f"{name}.jpg", n), labels[n].tolist())
        for n, name in enumerate(NAMES[:3])
    }
    broken = {"annotation 106", "image 77", "image 5"}
    return Judged(
        {"root": root, "labels": "instances"},
        records,
        [root / "val2017", path],
        broken,
        skipped=set(NAMES[3:]),
    )
