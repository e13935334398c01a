"""Images and which of the named classes they show."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from datamodules.batches import LabelBatch
from datamodules.kinds.base import EvaluationView, ImageSource, JudgedSample, Kind, columns, gather, stack


class LabelSource(ImageSource):
    """Images and which of the named classes they show."""

    class_names: tuple[str, ...]

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(C,) bool."""


class LabelView(EvaluationView[LabelSource]):
    """An image and which classes it shows."""

    def read(self, index: int) -> JudgedSample:
        """The image, its labels, and its key."""
        image = self.resize(self.source.image(index))
        labels = torch.from_numpy(self.source.labels(index))
        return (image, labels, self.source.key(index)), []


def collate_labels(samples: list[JudgedSample]) -> LabelBatch:
    """Samples of a `LabelView` -> a batch."""
    read, skipped = gather(samples)
    images, labels, keys = columns(read, 3)
    stacked, extents = stack(images)
    no_labels = torch.zeros(0, 0, dtype=torch.bool)
    stacked_labels = torch.stack(labels) if labels else no_labels
    return LabelBatch(stacked, stacked_labels, keys, extents=extents, skipped=skipped)


KIND = Kind(LabelBatch, LabelSource, LabelView, collate_labels)
