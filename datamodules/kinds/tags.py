"""Images with a caption whose words are marked as tags or not."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from datamodules.batches import TagBatch
from datamodules.errors import DataError
from datamodules.kinds.base import EvaluationView, ImageSource, Kind, columns, gather, stack


class TagSource(ImageSource):
    """Images with a caption whose words are marked as tags (something to be seen) or not."""

    @abstractmethod
    def words(self, index: int) -> list[str]:
        """The caption's words."""

    @abstractmethod
    def tags(self, index: int) -> list[bool]:
        """For each word, whether it is a tag."""

    def masks(self, index: int) -> np.ndarray | None:
        """(T,H,W) bool at original size, the region of each tagged word in order; None where the data set has
        no masks.
        """
        return None


class TagView(EvaluationView[TagSource]):
    """An image, its caption's words, which of them are tags, and where."""

    batch_type = TagBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        words, tags, masks = self.source.words(index), self.source.tags(index), self.source.masks(index)
        if len(words) != len(tags) or (masks is not None and len(masks) != sum(tags)):
            raise DataError(
                f"{len(words)} words, {len(tags)} marks and {0 if masks is None else len(masks)} masks for {sum(tags)} tags"
            )
        image = self.resize(self.source.image(index))
        return (
            image,
            words,
            tags,
            None if masks is None else torch.from_numpy(masks),
            self.source.key(index),
        ), []


def collate_tags(samples: list[tuple[tuple | None, list[str]]]) -> TagBatch:
    """Samples of a `TagView` -> a batch."""
    read, skipped = gather(samples)
    images, words, tags, masks, keys = columns(read, 5)
    return TagBatch(
        stack(images), words, tags, None if any(mask is None for mask in masks) else masks, keys, skipped
    )


KIND = Kind(TagSource, TagView, collate_tags)
