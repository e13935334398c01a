"""Images and which of the named classes they show."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from datamodules.batches import LabelBatch
from datamodules.kinds.base import EvaluationView, ImageSource, Kind, columns, gather, stack


class LabelSource(ImageSource):
    """Images and which of the named classes they show."""

    class_names: tuple[str, ...]

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(C,) bool."""


class LabelView(EvaluationView[LabelSource]):
    """An image and which classes it shows."""

    batch_type = LabelBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        return (
            self.resize(self.source.image(index)),
            torch.from_numpy(self.source.labels(index)),
            self.source.key(index),
        ), []


def collate_labels(samples: list[tuple[tuple | None, list[str]]]) -> LabelBatch:
    """Samples of a `LabelView` -> a batch."""
    read, skipped = gather(samples)
    images, labels, keys = columns(read, 3)
    return LabelBatch(
        stack(images), torch.stack(labels) if labels else torch.zeros(0, 0, dtype=torch.bool), keys, skipped
    )


KIND = Kind(LabelSource, LabelView, collate_labels)
