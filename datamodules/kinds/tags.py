"""Images with a caption whose words are marked as tags or not."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from datamodules.batches import TagBatch
from datamodules.errors import DataError
from datamodules.kinds.base import EvaluationView, ImageSource, JudgedSample, Kind, columns, gather, stack


class TagSource(ImageSource):
    """Images with a caption whose words are marked as tags (something to be seen) or not."""

    @abstractmethod
    def words(self, index: int) -> list[str]:
        """The caption's words."""

    @abstractmethod
    def tags(self, index: int) -> list[bool]:
        """For each word, whether it is a tag."""

    def judged(self, index: int) -> list[bool]:
        """For each word, whether it is known if it is a tag; all of them by default."""
        return [True] * len(self.words(index))

    def masks(self, index: int) -> np.ndarray | None:
        """(T,H,W) bool at original size, the region of each tagged word in order.

        None where the data set has no masks.
        """
        return None


class TagView(EvaluationView[TagSource]):
    """An image, its caption's words, which of them are tags, where, and which are judged."""

    def read(self, index: int) -> JudgedSample:
        """The image, its words, tags, masks, key, and which words are judged.

        Raises:
            DataError: they do not fit together.
        """
        words = self.source.words(index)
        tags = self.source.tags(index)
        masks = self.source.masks(index)
        if len(words) != len(tags):
            raise DataError(f"{len(words)} words and {len(tags)} marks")
        if masks is not None and len(masks) != sum(tags):
            raise DataError(f"{len(masks)} masks for {sum(tags)} tags")
        image = self.resize(self.source.image(index))
        regions = None if masks is None else torch.from_numpy(masks)
        return (image, words, tags, regions, self.source.key(index), self.source.judged(index)), []


def collate_tags(samples: list[JudgedSample]) -> TagBatch:
    """Samples of a `TagView` -> a batch."""
    read, skipped = gather(samples)
    images, words, tags, masks, keys, judged = columns(read, 6)
    stacked, extents = stack(images)
    complete = all(mask is not None for mask in masks)
    return TagBatch(
        stacked,
        words,
        tags,
        masks if complete else None,
        keys,
        judged,
        extents=extents,
        skipped=skipped,
    )


KIND = Kind(TagBatch, TagSource, TagView, collate_tags)
