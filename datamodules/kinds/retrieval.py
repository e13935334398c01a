"""Images, each to be found by its captions and the other way round."""

from __future__ import annotations

from abc import abstractmethod

from datamodules.batches import RetrievalBatch
from datamodules.kinds.base import EvaluationView, ImageSource, JudgedSample, Kind, columns, gather, stack


class RetrievalSource(ImageSource):
    """Images, each to be found by its captions and the other way round."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""


class RetrievalView(EvaluationView[RetrievalSource]):
    """An image and its captions."""

    def read(self, index: int) -> JudgedSample:
        """The image, its captions, and its key."""
        image = self.resize(self.source.image(index))
        return (image, self.source.captions(index), self.source.key(index)), []


def collate_retrieval(samples: list[JudgedSample]) -> RetrievalBatch:
    """Samples of a `RetrievalView` -> a batch."""
    read, skipped = gather(samples)
    images, captions, keys = columns(read, 3)
    stacked, extents = stack(images)
    return RetrievalBatch(stacked, captions, keys, extents=extents, skipped=skipped)


KIND = Kind(RetrievalBatch, RetrievalSource, RetrievalView, collate_retrieval)
