"""Images with captions to learn from."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from datamodules.batches import ImageTextBatch
from datamodules.kinds.base import ImageSource, Kind
from datamodules.kinds.training import TrainingSource, TrainingView, collate_training


class CaptionSource(ImageSource, TrainingSource):
    """Images with captions."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""


class CaptionView(TrainingView[CaptionSource]):
    """One of the image's captions, each equally likely."""

    def texts(self, index: int, rng: np.random.Generator) -> tuple[str]:
        """The caption that was drawn."""
        captions = self.source.captions(index)
        return (captions[int(rng.integers(len(captions)))],)


def collate_captions(samples: list[tuple]) -> ImageTextBatch:
    """Samples of a `CaptionView` -> a batch."""
    return collate_training(ImageTextBatch, samples)


KIND = Kind(ImageTextBatch, CaptionSource, CaptionView, collate_captions)
