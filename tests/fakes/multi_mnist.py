"""MNIST's four idx files, of a few glyphs; what is drawn with them is read from the generator itself."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.base import Split
from datamodules.sets.multi_mnist import WORDS, Drawing, draw_picture
from datamodules.synthetic.digit_glyphs import mnist_glyphs
from tests.fakes.base import Asked, Fake

SIZES = {"train_size": 8, "val_size": 3, "test_size": 7}


def write_idx(path: Path, array: np.ndarray, compressed: bool = True) -> None:
    """Bytes in the format of MNIST's publisher, with ``.gz`` behind the name if compressed."""
    data = (
        struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if compressed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def glyphs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars whose places tell the digit, some with faint ink."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    labels = np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        image[5 : 15 + label, 8 + label : 12 + label] = rng.integers(120, 256)
        image[10:13, 6:20] = rng.integers(1, 256)
    return images, labels


def write_mnist(root: Path, compressed: bool = True) -> None:
    """60 training and 20 test digits."""
    for part, count, seed in (("train", 60, 0), ("t10k", 20, 1)):
        images, labels = glyphs(count, seed)
        write_idx(root / f"{part}-images-idx3-ubyte", images, compressed)
        write_idx(root / f"{part}-labels-idx1-ubyte", labels, compressed)


def write(root: Path) -> Fake:
    """Eight, three and seven pictures, and as many of the test grid."""
    write_mnist(root / "MNIST" / "raw")
    drawing = Drawing(noise=0.0)
    arguments: dict[str, Any] = {"root": root, "drawing": drawing, **SIZES, "grids": (2,), "absent": 0}
    queries: dict[str, dict[str, dict[str, Asked]]] = {}
    splits: list[Split] = ["val", "test"]
    for number, split in enumerate(splits, start=1):
        digits = mnist_glyphs(root, split)
        grids = {"multi_mnist": 0}
        if split == "test":
            grids["grid_2x2"] = 2
        queries[split] = {}
        for name, grid in grids.items():
            written: dict[str, Asked] = {}
            for index in range(SIZES[f"{split}_size"]):
                picture = draw_picture(digits, drawing, (0, number, grid, index), grid)
                grey = round(float(picture.image.mean()))
                for label in sorted(set(picture.labels.tolist())):
                    boxes = picture.boxes[picture.labels == label].astype(float).tolist()
                    written[f"{split}-{index}/{WORDS[label]}"] = Asked(
                        (grey, grey, grey), picture.image.shape, WORDS[label], boxes
                    )
            queries[split][name] = written
    captions = {}
    for index in range(SIZES["train_size"]):
        named = [
            f"a {WORDS[label]}"
            for label in draw_picture(mnist_glyphs(root, "train"), drawing, (0, 0, 0, index)).labels
        ]
        captions[f"train-{index}"] = [" and ".join(named), " and ".join(reversed(named))]
    return Fake(arguments, captions, queries)
