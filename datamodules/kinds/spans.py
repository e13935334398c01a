"""Captions with the phrases that a human marked in them."""

from __future__ import annotations

from abc import abstractmethod

from datamodules.batches import SpanBatch
from datamodules.errors import DataError
from datamodules.kinds.base import EvaluationView, Kind, Source, columns, gather


class SpanSource(Source):
    """Captions with the phrases that a human marked."""

    @abstractmethod
    def words(self, index: int) -> list[str]:
        """The caption's words."""

    @abstractmethod
    def spans(self, index: int) -> list[tuple[int, int]]:
        """(start, end) of each marked phrase over the words, the end exclusive."""


class SpanView(EvaluationView[SpanSource]):
    """A caption and its marked phrases."""

    batch_type = SpanBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        words, spans = self.source.words(index), self.source.spans(index)
        outside = next((span for span in spans if not 0 <= span[0] < span[1] <= len(words)), None)
        if outside:
            raise DataError(f"the span {outside} lies outside the caption's {len(words)} words")
        return (words, spans, self.source.key(index)), []


def collate_spans(samples: list[tuple[tuple | None, list[str]]]) -> SpanBatch:
    """Samples of a `SpanView` -> a batch."""
    read, skipped = gather(samples)
    words, spans, keys = columns(read, 3)
    return SpanBatch(words, spans, keys, skipped)


KIND = Kind(SpanSource, SpanView, collate_spans)
