"""COCO captions: one JSON file of images and captions, which name each other by number; and Karpathy's list
of both releases' images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.base import Fake, save_image

CAPTIONS = {
    139: ["A dog runs.", "A brown  dog on grass.\n"],
    285: ["A cat and a dog"],
    632: ["Two birds", "A tree"],
    724: ["A stop sign"],
}

# Karpathy's splits cut through COCO's: image -> (subset of 2014, split, captions).
KARPATHY: dict[int, tuple[str, str, list[str]]] = {
    139: ("train2014", "train", CAPTIONS[139]),
    285: ("train2014", "train", CAPTIONS[285]),
    42: ("val2014", "restval", ["A  shoe"]),
    73: ("val2014", "val", ["A motorbike", "Two wheels"]),
    74: ("val2014", "test", ["A dog lies"]),
    75: ("val2014", "test", [" "]),
}


def write(root: Path) -> Fake:
    """Four sound images; one without captions, one with an empty one only, one whose file is missing,
    captions of an image that is not listed, and entries that lack what they need."""
    file_names = {number: f"COCO_train2014_{number:012d}.jpg" for number in [*CAPTIONS, 776, 785, 802]}
    for number in [*CAPTIONS, 776, 785]:
        save_image(root / "train2014" / file_names[number], (number % 256, 80, 90), (20, 26))
    pairs = [(number, caption) for number, captions in CAPTIONS.items() for caption in captions] + [
        (785, " "),
        (802, "A gap"),
        (999, "A ghost"),
    ]
    content: dict[str, Any] = {
        "images": [
            {"id": number, "file_name": name, "height": 20, "width": 26}
            for number, name in file_names.items()
        ],
        "annotations": [
            {"id": n, "image_id": number, "caption": caption}
            for n, (number, caption) in enumerate(reversed(pairs))
        ],
    }
    content["images"].append({"file_name": "nameless.jpg"})
    content["annotations"] += [{"id": 100, "image_id": 139}, {"id": 101, "image_id": 139, "caption": None}]
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_train2014.json").write_text(json.dumps(content))
    # The empty caption is the third that is written, since all are in reverse.
    broken = {"images[7]", *(f"annotations[{number}]" for number in (2, len(pairs), len(pairs) + 1))}
    return Fake(
        arguments={"root": root},
        captions={
            str(number): [" ".join(caption.split()) for caption in captions]
            for number, captions in CAPTIONS.items()
        },
        queries={},
        skipped={"train": {"802", "999", *broken}},
        useless={"train": 2},  # images without a caption
    )


def write_karpathy(root: Path, year: int = 2014) -> dict[str, dict[str, list[str]]]:
    """``dataset_coco.json`` and the images that it names, under their names of 2014 or 2017; split -> image
    -> captions.
    """
    images: list[dict[str, Any]] = []
    expected: dict[str, dict[str, list[str]]] = {"train": {}, "val": {}, "test": {}}
    for number, (subset, split, captions) in KARPATHY.items():
        name = f"COCO_{subset}_{number:012d}.jpg"
        sentences = [
            {"raw": caption, "tokens": caption.lower().split(), "imgid": number, "sentid": n}
            for n, caption in enumerate(captions)
        ]
        images.append(
            {
                "filepath": subset,
                "filename": name,
                "cocoid": number,
                "imgid": number,
                "split": split,
                "sentences": sentences,
            }
        )
        # 5,000 of the images of val2014 stayed validation images in 2017.
        path = (
            Path(subset, name)
            if year == 2014
            else Path("val2017" if number == 73 else "train2017", f"{number:012d}.jpg")
        )
        save_image(root / path, (number, 80, 90), (20, 26))
        if any(map(str.strip, captions)):
            expected[{"restval": "train"}.get(split, split)][str(number)] = [
                " ".join(caption.split()) for caption in captions
            ]
    images.append(
        {"filepath": "val2014", "filename": "COCO_val2014_000000000076.jpg", "cocoid": 76, "split": "test"}
    )
    for subset in (f"train{year}", f"val{year}"):
        (root / subset).mkdir(exist_ok=True)
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return expected
