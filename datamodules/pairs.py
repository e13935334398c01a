"""HIST's algorithm 1: pairs of phrases of one image with different subjects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.batches import Phrase


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
