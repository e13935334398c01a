"""Captions as JSON lines and CSV, with vectors in several files: names with folders, suffixes, and what
Flickr adds to an id.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from tests.fakes.base import Fake

WIDTH = 6
CAPTIONS = {
    "100": ["A dog on a sofa .", "a  brown dog"],
    "101": ["Two men", "men in hats", "Two men ."],
    "102": ["a cat"],
    "103": ["a horse", "an animal"],
    "folder/104.jpg": ["a bird"],
    "105": ["no vector for this one"],
}


def vector(name: str) -> np.ndarray:
    """What an encoder found in an image: numbers that tell images apart, exact in float16."""
    return np.full(WIDTH, int("".join(filter(str.isdigit, name))) - 90, np.float16) / 4 + np.arange(
        WIDTH, dtype=np.float16
    )


def write(root: Path) -> Fake:
    """Five images with a vector, one without, and rows that are broken."""
    root.mkdir(parents=True, exist_ok=True)
    rows: list[object] = [
        {"image": name, "captions": captions} for name, captions in list(CAPTIONS.items())[1:]
    ]
    lines = [json.dumps(row) for row in rows] + [
        '{"image": "100", "captions": "A dog on a sofa ."}',
        '{"image": "100", "caption": ["a  brown dog", " "]}',
    ]
    broken = [
        "{torn",
        json.dumps({"image": "102", "captions": [" "]}),
        json.dumps({"captions": ["no name"]}),
        json.dumps({"image": "102", "captions": [3]}),
    ]
    with gzip.open(root / "captions.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join([*lines, "", *broken]))
    vectors = root / "vectors"
    vectors.mkdir()
    first = ["100_ab12", "101_cd34.jpg", "102"]
    np.savez(vectors / "part-0.npz", names=first, feats=np.stack([vector(name[:3]) for name in first]))
    np.savez(
        vectors / "part-1.npz",
        names=["103", "folder/104.jpg"],
        feats=np.stack([vector("103"), vector("104")]),
    )
    return Fake(
        arguments={"captions": root / "captions.jsonl.gz", "vectors": vectors},
        captions={
            name: [" ".join(text.split()) for text in texts]
            for name, texts in CAPTIONS.items()
            if name != "105"
        },
        queries={},
        skipped={"train": {f"captions.jsonl.gz:{number}" for number in (9, 10, 11, 12)}},
        useless={"train": 1},  # an image without a vector
    )
