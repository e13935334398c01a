"""CC3M-TagMask, in every shape that its unpublished files may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.judged import SIZE, Judged, save_numbers, save_photo

WORDS = ["the", "dog", "and", "a", "red", "dog", "."]
TAGGED = [False, True, False, False, True, True, False]
SHAPES: list[Any] = [
    {"caption": " ".join(WORDS), "tags": ["dog", "red"]},
    {"text": "the Dog and a red dog .", "labels": {"dog": 1, "red": 1, "the": 0}},
    {"words": WORDS, "labels": [int(tag) for tag in TAGGED]},
    {"caption": " ".join(WORDS), "words": ["red dog"]},
    {"the": 0, "dog": 1, "red": True},
]
BROKEN: list[Any] = [
    {"caption": "a cat", "tags": ["dog"]},
    {"tags": ["dog"]},
    [1, 2],
    {"caption": "a cat", "tags": [1]},
]


def write(root: Path) -> Judged:
    """Every shape of annotation with a mask: the union (twice), a number for each word, a file for each tag;
    one without mask, one of another size; and annotations without image, without sense, and cut off."""
    (root / "json_refined").mkdir(parents=True)
    masks = root / "mask_using_HQ-SAM"
    regions = (
        np.random.default_rng(0).integers(0, 4, SIZE).astype(np.uint8)
    )  # k is the region of the k-th tagged word
    separate = regions == np.arange(1, 4)[:, None, None]
    union = np.repeat((regions > 0)[None], 3, axis=0)
    records: dict[str, Any] = {}
    for number, shape in enumerate([*SHAPES, SHAPES[0], SHAPES[0], *BROKEN]):
        (root / "json_refined" / f"{number:02d}.json").write_text(json.dumps(shape))
        seen = save_photo(root / "image" / f"{number:02d}.jpg", number)
        if number == 0:
            save_numbers(masks / "00.png", (regions > 0).astype(np.uint8) * 255)
            records["00"] = (seen, WORDS, TAGGED, union.tolist())
        elif number == 1:
            save_numbers(masks / "01.png", (regions > 0).astype(np.uint8))
            records["01"] = (seen, ["the", "Dog", *WORDS[2:]], TAGGED, union.tolist())
        elif number == 2:
            save_numbers(masks / "02.png", regions, "P")
            records["02"] = (seen, WORDS, TAGGED, separate.tolist())
        elif number == 3:
            save_numbers(masks / "03" / "dog.png", separate[0].astype(np.uint8) * 255)
            save_numbers(masks / "03" / "red.png", separate[1].astype(np.uint8) * 255)
            records["03"] = (seen, WORDS, TAGGED, separate[[0, 1, 0]].tolist())
        elif number == 4:
            save_numbers(masks / "04.png", (regions > 0).astype(np.uint8))
            records["04"] = (seen, ["the", "dog", "red"], [False, True, True], union[:2].tolist())
        elif number == 5:
            save_numbers(masks / "05.png", np.ones((5, 5), np.uint8))
    (root / "json_refined" / "20.json").write_text(json.dumps(SHAPES[0]))
    (root / "json_refined" / "21.json").write_text('{"caption": "a d')
    save_photo(root / "image" / "21.jpg", 1)
    return Judged(
        {"root": root},
        records,
        [root / "image", root / "json_refined"],
        broken={"07", "08", "09", "10", "20", "21"},
        skipped={"05", "06"},
    )
