"""Captions to learn from with a vector in place of each image, or with none at all."""

from __future__ import annotations

from abc import abstractmethod
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch
from datamodules.errors import DataError
from datamodules.kinds.base import Kind
from datamodules.kinds.training import TrainingSource, TrainingView


class VectorSource(TrainingSource):
    """Captions, each image's together, with the vector that a frozen encoder found in the image."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""

    @abstractmethod
    def vector(self, index: int) -> np.ndarray:
        """(D,) float32; D is 0 where there are only captions."""


class VectorView(TrainingView[VectorSource]):
    """One of the image's captions, each equally likely, and the image's vector.

    A module that takes vectors says so by images of one pixel.

    Raises:
        DataError: the module takes images.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.preprocessing.image_size != 1:
            raise DataError(
                "these captions come with vectors, not with images: leave out --model.image_encoder, or "
                "name a data set that has images."
            )

    def texts(self, index: int, rng: np.random.Generator) -> tuple[str]:
        """The caption that was drawn."""
        captions = self.source.captions(index)
        return (captions[int(rng.integers(len(captions)))],)

    def image(self, index: int, rng: np.random.Generator) -> Tensor:
        """(D,) float32."""
        return torch.from_numpy(self.source.vector(index))


def collate_vectors(samples: list[tuple]) -> ImageTextBatch:
    """Samples of a `VectorView` -> a batch whose ``images`` are the vectors (B,D)."""
    vectors, captions, keys, skipped = zip(*samples, strict=True)
    return ImageTextBatch(
        torch.stack(vectors), list(captions), list(keys), skipped=list(chain.from_iterable(skipped))
    )


KIND = Kind(ImageTextBatch, VectorSource, VectorView, collate_vectors)
