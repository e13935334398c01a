"""Images with phrases to be found in them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from datamodules.batches import GroundingBatch
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


@dataclass
class Query:
    """A phrase to be found in an image.

    Args:
        phrase: the text.
        boxes: (K,4) float32 ``xyxy`` in pixels of the original image, 0-based, maximum exclusive.
        key: unique within the data set.
        chain: queries of one image with the same chain name the same thing.
        mask: (H,W) bool at original size, where the data set has masks.
    """

    phrase: str
    boxes: np.ndarray
    key: str
    chain: str
    mask: np.ndarray | None = None

    def fault(self, height: int, width: int) -> str | None:
        """Why this query cannot be asked of an image of that size, or None if it can.

        A box that only sticks out of the image is no fault. Neither is having no box: such a query can be
        answered, but is not judged.
        """
        boxes = np.asarray(self.boxes, dtype=np.float64).reshape(-1, 4)
        if not self.phrase.strip():
            return "the phrase is empty"
        if not np.isfinite(boxes).all():
            return f"a box is not finite: {boxes.tolist()}"
        if (boxes[:, 0] >= boxes[:, 2]).any() or (boxes[:, 1] >= boxes[:, 3]).any():
            return f"a box is empty or inverted: {boxes.tolist()}"
        right_or_below = (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
        left_or_above = (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
        if (right_or_below | left_or_above).any():
            return f"a box lies outside the image of {width}x{height}: {boxes.tolist()}"
        return None


class GroundingSource(ImageSource):
    """Images with queries.

    Attributes:
        published_boxes: how the publisher writes boxes, ``corners`` or ``xywh``; reference protocols treat
            them differently (`metrics.protocols`).
    """

    published_boxes: Literal["corners", "xywh"] = "corners"

    @abstractmethod
    def queries(self, index: int) -> list[Query]:
        """The queries of an image; at least one. Raises `DataError` if its annotation is broken."""

    def sample_keys(self, index: int) -> list[str]:
        """Those of its queries; its own where its annotation is broken."""
        try:
            return [query.key for query in self.queries(index)]
        except DataError:
            return [self.key(index)]

    @property
    def number_of_samples(self) -> int:
        """Queries in all."""
        if self.number_of_queries is not None:
            return self.number_of_queries
        return sum(len(self.sample_keys(index)) for index in range(len(self)))


class GroundingView(EvaluationView[GroundingSource]):
    """An image and its sound queries."""

    def read(self, index: int) -> JudgedSample:
        """The image, its sound queries, its size and its name; None if no query is sound."""
        queries = self.source.queries(index)
        image = self.source.image(index)
        height, width = size_of(image)
        faults = [(query, query.fault(height, width)) for query in queries]
        skipped = [f"{query.key}\t{query.phrase!r}: {fault}" for query, fault in faults if fault]
        sound = [query for query, fault in faults if not fault]
        if not sound:
            return None, skipped
        return (self.resize(image), sound, (height, width), self.source.key(index)), skipped


def collate_queries(samples: list[JudgedSample]) -> GroundingBatch:
    """Samples of a `GroundingView` -> a batch."""
    read, skipped = gather(samples)
    images, queries_of_images, sizes, image_keys = columns(read, 4)
    queries: list[tuple[int, Query]] = [
        (n, query) for n, of_image in enumerate(queries_of_images) for query in of_image
    ]
    chains: dict[tuple[int, str], int] = {}
    chain_of_query = [chains.setdefault((n, query.chain), len(chains)) for n, query in queries]
    masks = [torch.from_numpy(query.mask) for _, query in queries if query.mask is not None]
    stacked, extents = stack(images)
    return GroundingBatch(
        images=stacked,
        phrases=[query.phrase for _, query in queries],
        image_of_query=torch.tensor([n for n, _ in queries], dtype=torch.long),
        chain_of_query=torch.tensor(chain_of_query, dtype=torch.long),
        boxes=[torch.from_numpy(np.asarray(query.boxes, dtype=np.float32)) for _, query in queries],
        sizes=as_sizes(sizes),
        image_keys=list(image_keys),
        keys=[query.key for _, query in queries],
        masks=masks if len(masks) == len(queries) else None,
        extents=extents,
        skipped=skipped,
    )


KIND = Kind(GroundingBatch, GroundingSource, GroundingView, collate_queries)
