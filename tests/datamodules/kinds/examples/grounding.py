"""Phrases with boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.kinds.grounding import GroundingSource, Query
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, GroundingSource):
    def queries(self, index: int) -> list[Query]:
        mask = np.zeros(self.image(index).shape[:2], bool)
        mask[:3, :3] = True
        return [Query("a dog", np.array([[0, 0, 3, 3]], np.float32), f"{index}/0", "1", mask)]


def record(source: GroundingSource, index: int) -> Any:
    queries = [(query.text, query.boxes.tolist(), query.key) for query in source.queries(index)]
    return shade(source.image(index)), queries
