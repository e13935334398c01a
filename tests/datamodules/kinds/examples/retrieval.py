"""Images with all of their captions."""

from __future__ import annotations

from typing import Any

from datamodules.kinds.retrieval import RetrievalSource
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, RetrievalSource):
    def captions(self, index: int) -> list[str]:
        return ["a dog", "it runs"]


def record(source: RetrievalSource, index: int) -> Any:
    return shade(source.image(index)), source.captions(index)
