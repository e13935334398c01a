"""Captions whose phrases are marked."""

from __future__ import annotations

from typing import Any

from datamodules.kinds.spans import SpanSource
from tests.datamodules.kinds.examples.pictures import Pictures


class Example(Pictures, SpanSource):
    def words(self, index: int) -> list[str]:
        return ["a", "dog", "runs"]

    def spans(self, index: int) -> list[tuple[int, int]]:
        return [(0, 4 if index == 2 else 2)]


def record(source: SpanSource, index: int) -> Any:
    return source.words(index), source.spans(index)
