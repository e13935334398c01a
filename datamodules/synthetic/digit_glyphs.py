"""Handwritten digits from which pictures are made: MNIST as its publisher ships it, or the small set that
scikit-learn brings along.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from datamodules.errors import DataError, DatasetNotFoundError

SIDE = 28
MNIST_VALIDATION = 5_000  # the last images of MNIST's training set
# Rows of scikit-learn's set: 13 writers, one after the other, whom it does not name. About one writer's rows
# are left out behind the training rows.
EMBEDDED_ROWS = {"train": slice(0, 1200), "val": slice(1340, 1480), "test": slice(1480, None)}
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
HOLDS = (
    "MNIST's four idx files (train-images-idx3-ubyte and so on, or with .gz), in the folder itself or in "
    "MNIST/raw"
)
REMEDY = "`python cli.py prepare MultiMNIST` brings them."


@dataclass(frozen=True)
class Glyphs:
    """Digits of one split: ``images`` (M,28,28) uint8, white on black, and ``labels`` (M,)."""

    images: np.ndarray
    labels: np.ndarray


def embedded_glyphs(split: Literal["train", "val", "test"]) -> Glyphs:
    """The 8 x 8 digits of scikit-learn (UCI optdigits), scaled to 20 x 20 within 28 x 28 like MNIST's; train
    and test writers apart.
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    found = load_digits()
    rows = EMBEDDED_ROWS[split]
    images = np.zeros((len(found.target[rows]), SIDE, SIDE), np.uint8)
    for image, small in zip(images, found.images[rows], strict=True):
        large = cv2.resize((small * (255 / 16)).astype(np.float32), (20, 20), interpolation=cv2.INTER_CUBIC)
        image[4:24, 4:24] = np.where(large > 24, large, 0).clip(
            0, 255
        )  # the cubic's faint ripples are no ink
    return Glyphs(images, found.target[rows].astype(np.int64))


def mnist_glyphs(root: Path, split: Literal["train", "val", "test"]) -> Glyphs:
    """MNIST. The validation split is the end of its training set.

    Raises:
        DatasetNotFoundError: the files are not there.
        DataError: a file is damaged.
    """
    images, labels = (_read_idx(_find(root, name)) for name in FILES["test" if split == "test" else "train"])
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or labels.max(initial=0) > 9:
        raise DataError(
            f"{root}: {len(images)} images of {images.shape[1:]} pixels with {len(labels)} labels are not "
            "MNIST."
        )
    held_out = min(MNIST_VALIDATION, len(images) // 6)
    rows = {
        "train": slice(0, len(images) - held_out),
        "val": slice(len(images) - held_out, None),
        "test": slice(None),
    }[split]
    return Glyphs(images[rows], labels[rows].astype(np.int64))


def _candidates(root: Path, name: str) -> list[Path]:
    return [
        root / folder / f"{name}{suffix}" for folder in ("", "MNIST/raw", "raw") for suffix in ("", ".gz")
    ]


def _find(root: Path, name: str) -> Path:
    found = next((path for path in _candidates(root, name) if path.is_file()), None)
    if found is None:
        raise DatasetNotFoundError("MNIST", root / name, HOLDS, REMEDY)
    return found


def _read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes: magic number (0, 0, 8, axes), the lengths as big-endian 32-bit numbers, the
    bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if data[:3] != b"\0\0\x08":
            raise ValueError("no idx file of bytes")
        axes = data[3]
        shape = np.frombuffer(data, ">i4", axes, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again.") from error
