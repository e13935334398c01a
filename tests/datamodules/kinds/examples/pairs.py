"""Pairs of which one must score higher."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.kinds.pairs import PairRankSource, RankedPair
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, PairRankSource):
    """One text, two images; the images of a batch repeat."""

    def pair(self, index: int) -> RankedPair:
        return RankedPair((str(index), "a dog runs"), ("3", "a dog runs"), "verb")

    def image_named(self, name: str) -> np.ndarray:
        return self.image(int(name))


def record(source: PairRankSource, index: int) -> Any:
    pair = source.pair(index)
    sides = [(shade(source.image_named(image)), text) for image, text in (pair.positive, pair.negative)]
    return *sides, pair.group
