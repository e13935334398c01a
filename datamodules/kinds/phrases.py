"""Phrases of captions to learn from: two of one image with different subjects (HIST, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import ClassVar

import numpy as np

from datamodules.batches import Phrase, PhraseBatch
from datamodules.kinds.base import Kind, stack
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.training import TrainingView


def partners_of(phrases: Sequence[Phrase], index: int) -> list[int]:
    """Positions of the phrases C_j with S(C_j) != S(C_i), from all captions of the image (HIST, algorithm 1).

    Args:
        phrases: of all captions of an image.
        index: i, the position of C_i.

    Example:
        >>> dog, cat = Phrase("a dog", "dog", 0, 2), Phrase("a cat", "cat", 3, 5)
        >>> partners_of([dog, cat, dog], 0)
        [1]
    """
    subject = phrases[index].subject
    return [position for position, other in enumerate(phrases) if other.subject != subject]


def draw_pair(phrases: Sequence[Phrase], rng: np.random.Generator) -> tuple[Phrase, Phrase | None]:
    """Draws a phrase and a partner of another subject from an image's pool.

    The algorithm emits a pair for every C_i; drawing one C_i a visit gives the same pairs in expectation and
    keeps one row an image in a batch, which the contrastive losses need (two phrases of one image would be
    each other's false negatives).

    Args:
        phrases: the pool; at least one.
        rng: source of all random draws.

    Returns:
        One phrase C_i, each equally likely, and a partner C_j drawn from its candidates, or None where there
        is no candidate.
    """
    position = int(rng.integers(len(phrases)))
    candidates = partners_of(phrases, position)
    if not candidates:
        return phrases[position], None
    return phrases[position], phrases[candidates[int(rng.integers(len(candidates)))]]


class PhraseSampler(TrainingView[CaptionSource]):
    """Base of samples that are made of the phrases of captions."""

    needs_phrases: ClassVar[bool] = True

    def phrases(self, index: int) -> list[Phrase]:
        """The phrases of all captions of an image."""
        phrases = self.source.phrases(index)
        if phrases is not None:
            return phrases
        assert self.find_phrases is not None, "a source without phrases of its own needs a chunker"
        return list(chain.from_iterable(self.find_phrases(self.source.captions(index))))


class PhraseView(PhraseSampler):
    """A phrase, its subject and a partner (HIST, algorithm 1)."""

    def texts(
        self, index: int, rng: np.random.Generator
    ) -> tuple[str, str, str | None, frozenset[str]] | None:
        """Phrase, subject, partner and all that is mentioned; None if the captions have no phrase."""
        phrases = self.phrases(index)
        if not phrases:
            return None
        phrase, partner = draw_pair(phrases, rng)
        texts = {phrase.text for phrase in phrases}
        subjects = {phrase.subject for phrase in phrases}
        return phrase.text, phrase.subject, partner.text if partner else None, frozenset(texts | subjects)


def collate_phrases(samples: list[tuple]) -> PhraseBatch:
    """Samples of a `PhraseView` -> a batch whose images are still uint8."""
    images, phrases, subjects, partners, mentioned, keys, skipped = zip(*samples, strict=True)
    stacked, extents = stack(images)
    return PhraseBatch(
        stacked,
        list(phrases),
        list(subjects),
        list(partners),
        list(keys),
        list(mentioned),
        extents=extents,
        skipped=list(chain.from_iterable(skipped)),
    )


KIND = Kind(PhraseBatch, CaptionSource, PhraseView, collate_phrases)
