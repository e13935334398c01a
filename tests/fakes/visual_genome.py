"""Visual Genome in its publisher's layout: boxes as x, y, width, height, some of which stick out of the
image, lie outside it or are empty.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from tests.fakes.base import Asked, Fake, save_image

SIZE = (40, 60)  # height, width
Region = tuple[int, str, float, float, float, float]

# The same phrase twice; a box that sticks out on three sides; one beyond the right and lower border;
# fractions of pixels; letters beyond ASCII.
REGIONS: list[Region] = [
    (1, "The Red  bus", 10, 5, 20, 30),
    (2, "a sign\n", 0, 0, 4, 4),
    (3, "The Red bus", 30, 8, 25, 20),
    (4, "off image", -5, -3, 80, 12),
    (5, "beyond", 50, 30, 200, 100),
    (6, "a café door ½", 1.5, 2, 3.25, 4),
]
PHRASES = ["The Red bus", "a sign", "The Red bus", "off image", "beyond", "a café door ½"]
FAULTY: list[Region] = [
    (7, "zero wide", 3, 3, 0, 5),
    (8, "outside", 3, -904, 55, 25),
    (9, "inverted", 30, 3, -5, 5),
    (10, " \n", 1, 1, 5, 5),
]


def region(image: int, values: Region) -> dict[str, Any]:
    number, phrase, x, y, width, height = values
    return {
        "region_id": 100 * image + number,
        "width": width,
        "height": height,
        "image_id": image,
        "phrase": phrase,
        "y": y,
        "x": x,
    }


def written_queries(image: int, colour: tuple[int, int, int]) -> dict[str, Asked]:
    return {
        f"{image}/{100 * image + number}": Asked(colour, SIZE, phrase, [[x, y, x + width, y + height]])
        for phrase, (number, _, x, y, width, height) in zip(PHRASES, REGIONS, strict=True)
    }


def write(root: Path, flat: bool = False) -> Fake:
    """Sound images in all splits, in both folders. ``test`` also has: faulty regions, no image file, an image
    of another size than published, an image that is not listed, one that is listed twice, one without
    regions, and a region that is listed twice or lacks its box.

    Args:
        root: folder to write into.
        flat: the layout of the reference code: one folder of images, annotations and split lists in folders
            of their own.
    """
    splits = {
        "train": [*range(1, 7), 40, 41],
        "val": [11, 12, 13],
        "test": [21, 22, 23, 24, 30, 31, 32, 33, 34, 35],
    }
    queries: dict[str, dict[str, Asked]] = {split: {} for split in splits}
    descriptions: list[dict[str, Any]] = []
    listed = [number for numbers in splits.values() for number in numbers if number != 32]
    for split, numbers in splits.items():
        for number in numbers:
            colour = (7 * number % 256, 100, 200 - 5 * number)
            folder = "VG_100K_2" if number % 2 else "VG_100K"
            if flat:
                folder = "VG_Images"
            if number not in (30, 41):
                size = (20, 30) if number in (31, 40) else SIZE
                save_image(root / folder / f"{number}.jpg", colour, size, quality=95)
            regions = [region(number, values) for values in ([] if number == 33 else REGIONS)]
            if number in (24, 35):
                regions += [region(number, values) for values in FAULTY]
            descriptions.append({"regions": regions, "id": number})
            if number not in (30, 31, 32, 33):
                queries[split] |= written_queries(number, colour)
    descriptions[-2]["regions"] += [
        region(34, REGIONS[0]),
        {"region_id": 3411, "phrase": "no box", "image_id": 34},
    ]
    descriptions.append({"regions": [region(21, (99, "again", 1, 1, 5, 5))], "id": 21})
    del queries["train"]

    write_annotations(root, flat, descriptions, listed, splits)
    faults = {f"{number}/{100 * number + values[0]}" for number in (24, 35) for values in FAULTY}
    # No image, and one of another size.
    faults |= {f"{number}/{100 * number + values[0]}" for number in (30, 31) for values in REGIONS}
    return Fake(
        arguments={"root": root, "split": "densecap"},
        captions=dict.fromkeys(map(str, (*range(1, 7), 40)), PHRASES),
        queries={split: {"visual_genome": queries[split]} for split in queries},
        skipped={"train": {"41"}, "visual_genome": {"21", "32", "34/3401", "34/#7", *faults}},
    )


def write_annotations(
    root: Path,
    flat: bool,
    descriptions: list[dict[str, Any]],
    listed: list[int],
    splits: dict[str, list[int]],
) -> None:
    """The regions, the published sizes of the ``listed`` images, and both split lists."""
    annotations = root / "VG_Annotations" if flat else root
    lists = root / "VG_Splits" if flat else root
    for folder in (annotations, lists, root):
        folder.mkdir(parents=True, exist_ok=True)
    sizes = [
        {
            "width": SIZE[1],
            "height": SIZE[0],
            "url": f"https://x/VG_100K/{n}.jpg",
            "image_id": n,
            "coco_id": None,
            "flickr_id": None,
        }
        for n in listed
    ]
    (annotations / "region_descriptions.json").write_text(
        json.dumps(descriptions, ensure_ascii=False), encoding="utf-8"
    )
    (annotations / "image_data.json").write_text(json.dumps(sizes))
    (lists / "densecap_splits.json").write_text(json.dumps(splits))
    (lists / "data_splits.pickle").write_bytes(
        pickle.dumps({"train": set(splits["train"] + splits["val"]), "test": set(splits["test"])}, protocol=2)
    )
