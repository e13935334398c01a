"""Classes of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.errors import DataError
from datamodules.kinds.segmentation import SegmentationSource
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, SegmentationSource):
    class_names = ("background", "dog")

    def labels(self, index: int) -> np.ndarray:
        return np.full((6, 8), index % 2, np.uint8)


def record(source: SegmentationSource, index: int) -> Any:
    image = source.image(index)
    labels = source.labels(index)
    assert labels.dtype == np.uint8
    if labels.shape != image.shape[:2]:
        raise DataError("of another size, as the view says")
    return shade(image), labels.tolist()
