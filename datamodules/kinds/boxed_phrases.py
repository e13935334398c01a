"""Phrases with their boxes to learn from, for methods that are supervised (AMC)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import chain
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import BoxedPhraseBatch
from datamodules.chunkers.rules import head_noun
from datamodules.kinds.base import Kind, size_of, stack
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.kinds.training import Augmentation, TrainingSource, TrainingView
from datamodules.storage.images import resize_for_training, to_tensor

INSIDE = 255  # of a region that is drawn as an image; outside is 0


class BoxedSource(GroundingSource, TrainingSource):
    """Images with phrases whose boxes may be learnt from."""

    def boxed_image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB.

        Raises:
            DataError: it cannot be read, or is not of the size that its boxes are for.
        """
        return self.image(index)


class BoxedPhraseView(TrainingView[BoxedSource]):
    """One of an image's phrases that have boxes, each equally likely, and the pixels in its boxes."""

    without: ClassVar[str] = "no phrase with a box"

    def members(
        self, index: int, rng: np.random.Generator
    ) -> tuple[Tensor, str, Tensor, frozenset[str]] | None:
        """Image, phrase, region (drawn as an image) and all that is mentioned; None if nothing has a box."""
        image = self.source.boxed_image(index)
        height, width = size_of(image)
        queries = []
        for query in self.source.queries(index):
            if len(query.boxes) and not query.fault(height, width):
                queries.append(query)
        if not queries:
            return None
        query = queries[int(rng.integers(len(queries)))]
        changed, region = self._changed_alike(image, region_of(query, height, width), rng)
        return changed, query.phrase, region, mentions_of(queries)

    def _changed_alike(
        self, image: np.ndarray, region: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Image and region after the same crop, flip and resizing; the image is recoloured after that."""
        geometry = replace(self.augmentation, jitter=0.0)
        colours = Augmentation(jitter=self.augmentation.jitter)
        same_draws = deepcopy(rng)
        image = resize_for_training(geometry(image, rng), self.preprocessing, rng)
        region = resize_for_training(geometry(region, same_draws), self.preprocessing, same_draws)
        return to_tensor(colours(image, rng)), to_tensor(region)


def region_of(query: Query, height: int, width: int) -> np.ndarray:
    """(H,W,3) uint8, `INSIDE` in the boxes of a query.

    Every pixel that a box touches belongs to it, and so at least one does.
    """
    region = np.zeros((height, width, 3), np.uint8)
    for x_min, y_min, x_max, y_max in query.boxes.clip(min=0):
        region[int(y_min) : int(np.ceil(y_max)), int(x_min) : int(np.ceil(x_max))] = INSIDE
    return region


def mentions_of(queries: list[Query]) -> frozenset[str]:
    """The phrases of queries and their head nouns.

    Example:
        >>> query = Query("a red dog", np.zeros((0, 4)), "0", "0")
        >>> sorted(mentions_of([query]))
        ['a red dog', 'dog']
    """
    phrases = {query.phrase for query in queries}
    return frozenset(phrases | {head_noun(phrase) for phrase in phrases})


def collate_boxed_phrases(samples: list[tuple]) -> BoxedPhraseBatch:
    """Samples of a `BoxedPhraseView` -> a batch whose images are still uint8."""
    images, phrases, regions, mentioned, keys, skipped = zip(*samples, strict=True)
    stacked, extents = stack(images)
    drawn_regions, _ = stack(regions)
    return BoxedPhraseBatch(
        stacked,
        list(phrases),
        torch.as_tensor(drawn_regions[:, 0] > INSIDE // 2),
        list(keys),
        list(mentioned),
        extents=extents,
        skipped=list(chain.from_iterable(skipped)),
    )


KIND = Kind(BoxedPhraseBatch, BoxedSource, BoxedPhraseView, collate_boxed_phrases)
