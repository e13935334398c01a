"""What the examples share: images of one colour each."""

from __future__ import annotations

import numpy as np

from datamodules.errors import DataError
from datamodules.kinds.base import ImageSource


class Pictures(ImageSource):
    """Four images of 6x8, of which number 2 cannot be read; each is as bright as its number."""

    def __len__(self) -> int:
        return 4

    def key(self, index: int) -> str:
        return f"k{index}"

    def image(self, index: int) -> np.ndarray:
        if index == 2:
            raise DataError("torn")
        return np.full((6, 8, 3), index, np.uint8)


class Shade(tuple):
    """The colour of an image of one colour; a JPEG gives it back to a few steps."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and bool(np.abs(np.subtract(self, other)).max() <= 6)

    __hash__ = tuple.__hash__


def shade(image: np.ndarray) -> Shade:
    """The mean colour of an image."""
    assert (image.dtype, image.ndim) == (np.uint8, 3)
    return Shade(image.reshape(-1, 3).mean(0))
