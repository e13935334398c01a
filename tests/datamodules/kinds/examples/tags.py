"""Words that are to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.kinds.tags import TagSource
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, TagSource):
    def words(self, index: int) -> list[str]:
        return ["a", "dog"]

    def tags(self, index: int) -> list[bool]:
        return [False, True]

    def masks(self, index: int) -> np.ndarray | None:
        return np.ones((1, 6, 8), bool)


def record(source: TagSource, index: int) -> Any:
    seen = shade(source.image(index))
    masks = source.masks(index)
    tags = zip(source.tags(index), source.judged(index), strict=True)
    marks = [tag if judged else None for tag, judged in tags]
    regions = None if masks is None else masks.tolist()
    return seen, source.words(index), marks, regions
