"""Images, each to be found by its captions and the other way round."""

from __future__ import annotations

from abc import abstractmethod

from datamodules.batches import RetrievalBatch
from datamodules.kinds.base import EvaluationView, ImageSource, Kind, columns, gather, stack


class RetrievalSource(ImageSource):
    """Images, each to be found by its captions and the other way round."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""


class RetrievalView(EvaluationView[RetrievalSource]):
    """An image and its captions."""

    batch_type = RetrievalBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        return (
            self.resize(self.source.image(index)),
            self.source.captions(index),
            self.source.key(index),
        ), []


def collate_retrieval(samples: list[tuple[tuple | None, list[str]]]) -> RetrievalBatch:
    """Samples of a `RetrievalView` -> a batch."""
    read, skipped = gather(samples)
    images, captions, keys = columns(read, 3)
    return RetrievalBatch(stack(images), captions, keys, skipped)


KIND = Kind(RetrievalSource, RetrievalView, collate_retrieval)
