"""Captions with the phrases that a human marked in them."""

from __future__ import annotations

from abc import abstractmethod

from datamodules.batches import SpanBatch
from datamodules.errors import DataError
from datamodules.kinds.base import EvaluationView, JudgedSample, Kind, Source, columns, gather


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

    def read(self, index: int) -> JudgedSample:
        """The words, the spans, and the key. Raises `DataError` if a span is outside the caption."""
        words = self.source.words(index)
        spans = self.source.spans(index)
        for start, end in spans:
            if not 0 <= start < end <= len(words):
                raise DataError(f"the span {(start, end)} lies outside the caption's {len(words)} words")
        return (words, spans, self.source.key(index)), []


def collate_spans(samples: list[JudgedSample]) -> SpanBatch:
    """Samples of a `SpanView` -> a batch."""
    read, skipped = gather(samples)
    words, spans, keys = columns(read, 3)
    return SpanBatch(words, spans, keys, skipped=skipped)


KIND = Kind(SpanBatch, SpanSource, SpanView, collate_spans)
