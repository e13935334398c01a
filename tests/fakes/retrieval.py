"""Karpathy's splits of COCO (train and restval are learnt from; the images of val and test lie in val2014)
and of Flickr30k.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.judged import Judged, save_photo

SPLITS = ["train", "test", "restval", "val", "test", "test"]


def _entry(number: int, **more: Any) -> dict[str, Any]:
    sentences = [
        {"raw": f"Caption {n}  of image {number}.\n", "tokens": [], "imgid": number, "sentid": n}
        for n in range(5)
    ]
    return {"imgid": number, "sentids": [], "split": SPLITS[number], "sentences": sentences, **more}


def _captions(number: int) -> list[str]:
    return [f"Caption {n} of image {number}." for n in range(5)]


def write(root: Path) -> Judged:
    """COCO: an image of every split, of test one without a file; in the list, a record without captions."""
    entries: list[Any] = []
    records = {}
    for number, split in enumerate(SPLITS):
        folder = "train2014" if split == "train" else "val2014"
        name = f"COCO_{folder}_{number:012d}.jpg"
        entries.append(_entry(number, filename=name, filepath=folder, cocoid=number))
        if number < 5:
            seen = save_photo(root / folder / name, number)
            if split == "test":
                records[str(number)] = (seen, _captions(number))
    entries.append(
        {"split": "test", "filename": "COCO_val2014_000000000009.jpg", "filepath": "val2014", "cocoid": 9}
    )
    path = root / "dataset_coco.json"
    path.write_text(json.dumps({"images": entries, "dataset": "coco"}))
    return Judged({"root": root}, records, [path, root / "val2014"], broken={"images[6]"}, skipped={"5"})


def write_flickr30kretrieval(root: Path) -> Judged:
    """Flickr30k: likewise."""
    records = {}
    for number, split in enumerate(SPLITS[:5]):
        seen = save_photo(root / "flickr30k_images" / f"100{number}.jpg", number)
        if split == "test":
            records[f"100{number}"] = (seen, _captions(number))
    entries: list[Any] = [_entry(number, filename=f"100{number}.jpg") for number in range(len(SPLITS))]
    path = root / "dataset_flickr30k.json"
    path.write_text(
        json.dumps(
            {
                "images": [*entries, {"filename": "x.jpg", "split": "test", "sentences": [{"raw": " "}]}],
                "dataset": "flickr30k",
            }
        )
    )
    return Judged(
        {"root": root}, records, [path, root / "flickr30k_images"], broken={"images[6]"}, skipped={"1005"}
    )
