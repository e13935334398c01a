"""Captions with their phrases to learn from: where each phrase is, and what the whole caption belongs to."""

from __future__ import annotations

import numpy as np

from datamodules.batches import CaptionPhraseBatch
from datamodules.kinds.base import Kind
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.phrases import PhraseSampler
from datamodules.kinds.training import collate_training


class CaptionPhraseView(PhraseSampler):
    """One of the image's captions, each equally likely, and its phrases."""

    def texts(self, index: int, rng: np.random.Generator) -> tuple[str, list[str]]:
        """The caption that was drawn, and its phrases."""
        captions = self.source.captions(index)
        drawn = int(rng.integers(len(captions)))
        phrases = [phrase.text for phrase in self.phrases(index) if phrase.caption == drawn]
        return captions[drawn], phrases


def collate_caption_phrases(samples: list[tuple]) -> CaptionPhraseBatch:
    """Samples of a `CaptionPhraseView` -> a batch."""
    return collate_training(CaptionPhraseBatch, samples)


KIND = Kind(CaptionPhraseBatch, CaptionSource, CaptionPhraseView, collate_caption_phrases)
