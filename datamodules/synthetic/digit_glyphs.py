"""Handwritten digits from which pictures are drawn: MNIST as its publisher ships it, or the small set that
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

Split = Literal["train", "val", "test"]

SIDE = 28  # of a glyph, in pixels
MNIST_VALIDATION = 5_000  # the last images of MNIST's training set
# Rows of scikit-learn's set: 13 writers, one after the other, whom it does not name. About one writer's rows
# are left out behind the training rows.
EMBEDDED_ROWS = {"train": slice(0, 1200), "val": slice(1340, 1480), "test": slice(1480, None)}
RIPPLES = 24  # cubic interpolation leaves faint ripples up to this value, which are no ink
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "val": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
HOLDS = (
    "MNIST's four idx files (train-images-idx3-ubyte and so on, or with .gz), in the folder itself or in "
    "MNIST/raw"
)
REMEDY = "`python cli.py prepare MultiMNIST` brings them."


@dataclass(frozen=True)
class Glyphs:
    """Digits of one split.

    Args:
        images: (M,28,28) uint8, white on black.
        labels: (M,) int64, 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def embedded_glyphs(split: Split) -> Glyphs:
    """The 8 x 8 digits of scikit-learn (UCI optdigits), scaled to 20 x 20 within 28 x 28 like MNIST's.

    The writers of the training split are others than those of the test split.

    Example:
        >>> embedded_glyphs("val").images.shape
        (140, 28, 28)
    """
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    digits = load_digits()
    rows = EMBEDDED_ROWS[split]
    labels = digits.target[rows].astype(np.int64)
    images = np.zeros((len(labels), SIDE, SIDE), np.uint8)
    for image, small in zip(images, digits.images[rows], strict=True):
        ink = (small * (255 / 16)).astype(np.float32)
        large = cv2.resize(ink, (20, 20), interpolation=cv2.INTER_CUBIC)
        image[4:24, 4:24] = np.where(large > RIPPLES, large, 0).clip(0, 255)
    return Glyphs(images, labels)


def mnist_glyphs(root: Path, split: Split) -> Glyphs:
    """The digits of MNIST; the validation split is the end of its training set.

    Args:
        root: folder of the four idx files.
        split: which digits.

    Raises:
        DatasetNotFoundError: the files are not there.
        DataError: a file is damaged.
    """
    images_name, labels_name = MNIST_FILES[split]
    images = _read_idx(_find(root, images_name))
    labels = _read_idx(_find(root, labels_name))
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or labels.max(initial=0) > 9:
        raise DataError(
            f"{root}: {len(images)} images of {images.shape[1:]} pixels with {len(labels)} labels "
            "are not MNIST."
        )
    rows = slice(None)
    validation_start = len(images) - min(MNIST_VALIDATION, len(images) // 6)
    if split == "train":
        rows = slice(0, validation_start)
    elif split == "val":
        rows = slice(validation_start, None)
    return Glyphs(images[rows], labels[rows].astype(np.int64))


def _candidates(root: Path, name: str) -> list[Path]:
    """Where a file of MNIST may lie."""
    folders = (root, root / "MNIST" / "raw", root / "raw")
    return [folder / f"{name}{suffix}" for folder in folders for suffix in ("", ".gz")]


def _find(root: Path, name: str) -> Path:
    """The first place where a file of MNIST lies."""
    for path in _candidates(root, name):
        if path.is_file():
            return path
    raise DatasetNotFoundError("MNIST", root / name, HOLDS, REMEDY)


def _read_idx(path: Path) -> np.ndarray:
    """Reads an idx file of bytes.

    It holds a magic number (0, 0, 8, number of axes), the lengths of the axes as big-endian 32-bit numbers,
    and the bytes.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        if data[:3] != b"\0\0\x08":
            raise ValueError("no idx file of bytes")
        axes = data[3]
        shape = np.frombuffer(data, ">i4", axes, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again.") from error
