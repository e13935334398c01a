"""Pairs of an image and a text of which one must score higher."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import PairRankBatch
from datamodules.kinds.base import EvaluationView, Kind, Source, columns, gather, stack


class RankedPair(NamedTuple):
    """(image, text) twice, the first of which belongs together; images by their names."""

    positive: tuple[str, str]
    negative: tuple[str, str]
    group: str


class PairRankSource(Source):
    """Pairs of which one must score higher: a text with two images, or an image with two texts."""

    @abstractmethod
    def pair(self, index: int) -> RankedPair:
        """The pair and the group in which it is counted."""

    @abstractmethod
    def image_named(self, name: str) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""


class PairRankView(EvaluationView[PairRankSource]):
    """A pair, and its one or two images by name."""

    batch_type = PairRankBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        pair = self.source.pair(index)
        names = dict.fromkeys((pair.positive[0], pair.negative[0]))
        return (
            pair,
            {name: self.resize(self.source.image_named(name)) for name in names},
            self.source.key(index),
        ), []


def collate_pairs(samples: list[tuple[tuple | None, list[str]]]) -> PairRankBatch:
    """Samples of a `PairRankView` -> a batch, in which every image and every text stands once."""
    read, skipped = gather(samples)
    pairs, seen, keys = columns(read, 3)
    images = {name: image for of_pair in seen for name, image in of_pair.items()}
    image_index = {name: index for index, name in enumerate(images)}
    texts = {
        text: index
        for index, text in enumerate(dict.fromkeys(text for pair in pairs for _, text in pair[:2]))
    }

    def indices(sides: list[tuple[str, str]]) -> Tensor:
        return torch.tensor(
            [(image_index[image], texts[text]) for image, text in sides], dtype=torch.long
        ).reshape(-1, 2)

    positive, negative = (
        indices([pair.positive for pair in pairs]),
        indices([pair.negative for pair in pairs]),
    )
    return PairRankBatch(
        stack(list(images.values())),
        list(texts),
        positive,
        negative,
        [pair.group for pair in pairs],
        keys,
        skipped,
    )


KIND = Kind(PairRankSource, PairRankView, collate_pairs)
