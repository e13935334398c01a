"""Pairs of an image and a text of which one must score higher."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import PairRankBatch
from datamodules.kinds.base import EvaluationView, JudgedSample, Kind, Source, columns, gather, stack


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

    def read(self, index: int) -> JudgedSample:
        """The pair, its one or two images by name, and its key."""
        pair = self.source.pair(index)
        names = dict.fromkeys((pair.positive[0], pair.negative[0]))
        images = {name: self.resize(self.source.image_named(name)) for name in names}
        return (pair, images, self.source.key(index)), []


def collate_pairs(samples: list[JudgedSample]) -> PairRankBatch:
    """Samples of a `PairRankView` -> a batch, in which every image and every text stands once."""
    read, skipped = gather(samples)
    pairs, images_of_pairs, keys = columns(read, 3)
    images = {name: image for of_pair in images_of_pairs for name, image in of_pair.items()}
    texts = list(dict.fromkeys(text for pair in pairs for _, text in (pair.positive, pair.negative)))
    stacked, extents = stack(list(images.values()))
    image_index = {name: index for index, name in enumerate(images)}
    text_index = {text: index for index, text in enumerate(texts)}

    def indices(sides: list[tuple[str, str]]) -> Tensor:
        pairs_of_indices = [(image_index[image], text_index[text]) for image, text in sides]
        return torch.tensor(pairs_of_indices, dtype=torch.long).reshape(-1, 2)

    return PairRankBatch(
        images=stacked,
        texts=texts,
        positive=indices([pair.positive for pair in pairs]),
        negative=indices([pair.negative for pair in pairs]),
        groups=[pair.group for pair in pairs],
        keys=keys,
        extents=extents,
        skipped=skipped,
    )


KIND = Kind(PairRankBatch, PairRankSource, PairRankView, collate_pairs)
