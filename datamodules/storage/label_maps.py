"""Label maps: images whose pixels are class numbers, each beside the photograph that it describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.batches import IGNORED
from datamodules.errors import DataError
from datamodules.kinds.segmentation import SegmentationSource
from datamodules.storage.images import opened_image, read_image

UNKNOWN = -1  # what a table holds for numbers that the data set does not have


def read_label_map(path: Path) -> np.ndarray:
    """Reads a label map.

    Args:
        path: path of the image file.

    Returns:
        (H,W), the numbers as they are stored; of a palette image its indices, not its colours.

    Raises:
        DataError: the file is missing, truncated, no image, or an image of colours.
    """
    with opened_image(path, "a label map") as image:
        if image.mode not in {"P", "L", "1", "I", "I;16"}:
            raise DataError(
                f"{path}: a label map holds one number a pixel, this is an image of mode {image.mode}"
            )
        numbers = np.asarray(image)
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


def table(labels: Mapping[int, int], others: int = UNKNOWN) -> np.ndarray:
    """A look-up table from stored numbers to labels.

    Args:
        labels: label by stored number. 255 is ignored unless it stands here.
        others: what the remaining numbers become.

    Returns:
        (256,) int16.

    Example:
        >>> table({7: 0, 9: 1}, others=255)[[7, 8, 9, 255]].tolist()
        [0, 255, 1, 255]
    """
    numbers = np.full(256, others, dtype=np.int16)
    numbers[IGNORED] = IGNORED
    numbers[list(labels)] = list(labels.values())
    return numbers


def in_order(numbers: Iterable[int], first: int = 0) -> dict[int, int]:
    """Labels ``first``, ``first + 1``, ... by stored number.

    Example:
        >>> in_order([7, 9, 11], first=1)
        {7: 1, 9: 2, 11: 3}
    """
    return {number: label for label, number in enumerate(numbers, start=first)}


def to_labels(numbers: np.ndarray, by_number: np.ndarray, path: Path) -> np.ndarray:
    """Turns stored numbers into labels.

    Args:
        numbers: (H,W) of stored numbers.
        by_number: (256,) stored number -> label, as `table` makes it.
        path: path of the label map, for the message of an error.

    Returns:
        (H,W) uint8.

    Raises:
        DataError: a number is none that the data set has.
    """
    if numbers.max(initial=0) >= len(by_number) or numbers.min(initial=0) < 0:
        raise DataError(f"{path}: {numbers.max()} is no class number")
    labels = by_number[numbers]
    if (labels == UNKNOWN).any():
        raise DataError(f"{path}: {numbers[labels == UNKNOWN][0]} is no class number")
    return labels.astype(np.uint8)


class Labelled(NamedTuple):
    """A photograph and its label map.

    Args:
        key: name of the record.
        image: path of the photograph.
        labels: path of its label map.
    """

    key: str
    image: Path
    labels: Path


class LabelMapSource(SegmentationSource):
    """Images and label maps, paired by name.

    Args:
        files: all of them; one that turns out to be missing is an error of its record alone.
        class_names: by label.
        by_number: (256,) stored number -> label, as `table` makes it.
    """

    def __init__(
        self, files: Sequence[Labelled], class_names: tuple[str, ...], by_number: np.ndarray
    ) -> None:
        self.files = files
        self.class_names = class_names
        self.by_number = by_number

    def __len__(self) -> int:
        return len(self.files)

    def key(self, index: int) -> str:
        """Name of a record."""
        return self.files[index].key

    def image(self, index: int) -> np.ndarray:
        """Photograph of a record, (H,W,3) uint8."""
        return read_image(self.files[index].image)

    def labels(self, index: int) -> np.ndarray:
        """Label map of a record, (H,W) uint8."""
        path = self.files[index].labels
        return to_labels(read_label_map(path), self.by_number, path)
