"""Images with captions to learn from."""

from __future__ import annotations

from abc import abstractmethod
from itertools import chain

import numpy as np

from datamodules.batches import ImageTextBatch
from datamodules.kinds.base import ImageSource, Kind, stack
from datamodules.kinds.training import TrainingSource, TrainingView


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
    """Samples of a `CaptionView` -> a batch whose images are still uint8."""
    images, captions, keys, skipped = zip(*samples, strict=True)
    stacked, extents = stack(images)
    return ImageTextBatch(
        stacked,
        list(captions),
        list(keys),
        extents=extents,
        skipped=list(chain.from_iterable(skipped)),
    )


KIND = Kind(ImageTextBatch, CaptionSource, CaptionView, collate_captions)
