"""Images with a class for every pixel."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from datamodules.batches import SegmentationBatch
from datamodules.errors import DataError
from datamodules.kinds.base import (
    EvaluationView,
    ImageSource,
    JudgedSample,
    Kind,
    as_sizes,
    columns,
    gather,
    size_of,
    stack,
)


class SegmentationSource(ImageSource):
    """Images with a class for every pixel.

    Attributes:
        class_names: by label; the first is ``background`` where the data set has one.
    """

    class_names: tuple[str, ...]

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8 at original size; `IGNORED` where nothing is asked.

        Raises:
            DataError: they cannot be read.
        """


class SegmentationView(EvaluationView[SegmentationSource]):
    """An image and the class of each of its pixels."""

    def read(self, index: int) -> JudgedSample:
        """The image, its labels, its size, and its key. Raises `DataError` if the labels do not fit."""
        image = self.source.image(index)
        labels = self.source.labels(index)
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"the labels are {labels.shape[1]}x{labels.shape[0]}, "
                f"the image is {image.shape[1]}x{image.shape[0]}"
            )
        return (self.resize(image), torch.from_numpy(labels), size_of(image), self.source.key(index)), []


def collate_segmentation(samples: list[JudgedSample]) -> SegmentationBatch:
    """Samples of a `SegmentationView` -> a batch."""
    read, skipped = gather(samples)
    images, labels, sizes, keys = columns(read, 4)
    stacked, extents = stack(images)
    return SegmentationBatch(stacked, labels, as_sizes(sizes), keys, extents=extents, skipped=skipped)


KIND = Kind(SegmentationBatch, SegmentationSource, SegmentationView, collate_segmentation)
