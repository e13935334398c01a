"""Phrases of captions to learn from: HIST's algorithm 1, pairs of phrases of one image with different subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from torch.utils.data import default_collate

from datamodules.batches import Phrase, PhraseBatch
from datamodules.kinds.captions import TrainingView


def partners_of(phrases: Sequence[Phrase], index: int) -> list[int]:
    """Positions of the phrases C_j with S(C_j) != S(C_i), i = ``index``, from all captions of the image
    (HIST, algorithm 1).
    """
    subject = phrases[index].subject
    return [j for j, other in enumerate(phrases) if other.subject != subject]


def draw_pair(phrases: Sequence[Phrase], rng: np.random.Generator) -> tuple[Phrase, Phrase | None]:
    """One phrase C_i of the image's pool, each equally likely, and a partner C_j drawn from its candidates,
    or None where there is no candidate.

    The algorithm emits a pair for every C_i; drawing one C_i a visit gives the same pairs in expectation and
    keeps one row an image in a batch, which the contrastive losses need (two phrases of one image would be
    each other's false negatives).
    """
    i = int(rng.integers(len(phrases)))
    candidates = partners_of(phrases, i)
    return phrases[i], phrases[candidates[int(rng.integers(len(candidates)))]] if candidates else None


class PhraseView(TrainingView):
    """A phrase, its subject and a partner (HIST, algorithm 1)."""

    def __init__(
        self, *args: Any, lookup: Callable[[Sequence[str]], list[list[Phrase]]] | None = None
    ) -> None:
        super().__init__(*args)
        self.lookup = lookup

    def texts(
        self, index: int, rng: np.random.Generator
    ) -> tuple[str, str, str | None, frozenset[str]] | None:
        phrases = self.source.phrases(index)
        if phrases is None:
            assert self.lookup is not None, "a source without phrases of its own needs a chunker"
            phrases = [phrase for caption in self.lookup(self.source.captions(index)) for phrase in caption]
        if not phrases:
            return None
        phrase, partner = draw_pair(phrases, rng)
        mentioned = frozenset(text for found in phrases for text in (found.text, found.subject))
        return phrase.text, phrase.subject, partner.text if partner else None, mentioned


def collate_phrases(samples: list[tuple]) -> PhraseBatch:
    """Samples of a `PhraseView` -> a batch whose images are still uint8."""
    images, phrases, subjects, partners, mentioned, keys, skipped = zip(*samples, strict=True)
    skipped_lines = list(chain.from_iterable(skipped))
    return PhraseBatch(
        default_collate(list(images)),
        list(phrases),
        list(subjects),
        list(partners),
        list(keys),
        list(mentioned),
        skipped_lines,
    )
