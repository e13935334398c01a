"""COCO captions: one JSON file of images and captions, which name each other by number."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.base import Fake, save_image

CAPTIONS = {139: ["A dog runs.", "A brown  dog on grass.\n"], 285: ["A cat and a dog"], 632: ["Two birds", "A tree"], 724: ["A stop sign"]}


def write(root: Path) -> Fake:
    """Four sound images; one without captions, one with an empty one only, one whose file is missing, and captions of an image that is not listed."""
    file_names = {number: f"COCO_train2014_{number:012d}.jpg" for number in [*CAPTIONS, 776, 785, 802]}
    for number in [*CAPTIONS, 776, 785]:
        save_image(root / "train2014" / file_names[number], (number % 256, 80, 90), (20, 26))
    said = [(number, caption) for number, captions in CAPTIONS.items() for caption in captions] + [(785, " "), (802, "A gap"), (999, "A ghost")]
    content = {
        "images": [{"id": number, "file_name": name, "height": 20, "width": 26} for number, name in file_names.items()],
        "annotations": [{"id": n, "image_id": number, "caption": caption} for n, (number, caption) in enumerate(reversed(said))],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_train2014.json").write_text(json.dumps(content))
    return Fake(
        arguments={"root": root},
        captions={str(number): [" ".join(caption.split()) for caption in captions] for number, captions in CAPTIONS.items()},
        queries={},
        skipped={"train": {"802", "999"}},
    )
