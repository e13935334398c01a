"""Do the groups of a caption's tokens agree with its phrases? tIoU and its companions.

"Discovering Meaningful Units with Visually Grounded Semantics from Image Captions", section on phrase
segmentation, as its published numbers imply: tokens in no phrase are not counted against a group, groups
without tokens are left out, and the mean is over matched pairs only.

Shapes: B captions, T tokens of the longest, K groups, G phrases of the caption that has most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, mean_estimate

Level = Literal["subword", "word"]
# Scores are summed as integers of 2^-32, so that any split of the captions over processes gives the same
# digits.
_SCALE = 1 << 32
NAMES = ("tiou", "precision", "recall", "f1")


def token_scores(
    assignments: Sequence[Sequence[int]], phrases: Sequence[Sequence[Iterable[int]]]
) -> np.ndarray:
    """Scores of every caption that has a phrase.

    For a group g and a phrase s, with A the tokens of all phrases: IoU = |g & s| / |(g & A) | s|, P = |g & s|
        / |g & A|, R = |g & s| / |s|. The one-to-one
    matching of groups and phrases with the greatest sum of IoUs is taken, and each score is averaged over its
    min(groups, phrases) pairs.

    Args:
        assignments: for each caption the group of each of its tokens, any integers.
        phrases: for each caption its phrases, each as indices of tokens (a ``range`` will do); phrases do not
            overlap.

    Returns:
        (C,4) float64: tIoU, P, R, F1 for each of the C captions that have a phrase, in their order.

    Raises:
        ValueError: lengths that differ, or a phrase without tokens, or out of its caption.
    """
    if len(assignments) != len(phrases):
        raise ValueError(f"{len(assignments)} captions are grouped and {len(phrases)} have phrases.")
    judged = [
        (list(groups), [list(phrase) for phrase in spans])
        for groups, spans in zip(assignments, phrases, strict=True)
        if len(spans)
    ]
    for groups, spans in judged:
        if any(not span or min(span) < 0 or max(span) >= len(groups) for span in spans):
            raise ValueError(
                f"a phrase has no token, or one out of the {len(groups)} of its caption: {spans}."
            )
    return np.array([_scores(groups, spans) for groups, spans in judged]).reshape(-1, 4)


def _scores(groups: list[int], spans: list[list[int]]) -> np.ndarray:
    """(4,) of one caption."""
    found, group_of_token = np.unique(groups, return_inverse=True)
    shared = np.zeros((len(found), len(spans)))
    for column, span in enumerate(spans):
        np.add.at(shared[:, column], group_of_token[span], 1)
    of_group, of_phrase = shared.sum(axis=1), shared.sum(axis=0)
    iou = shared / (of_group[:, None] + of_phrase - shared)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    both, held, wanted = shared[rows, columns], of_group[rows], of_phrase[columns]
    scores = np.stack(
        [iou[rows, columns], both / np.maximum(held, 1), both / wanted, 2 * both / (held + wanted)]
    )
    return scores.mean(axis=1)


def tokens_of_spans(word_of_token: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Spans over words (end exclusive) as lists of tokens. A span of which no token is left (a truncated
    caption) is dropped.
    """
    found = [
        [token for token, word in enumerate(word_of_token) if start <= word < end] for start, end in spans
    ]
    return [tokens for tokens in found if tokens]


def words_from_tokens(
    group_of_token: Sequence[int], word_of_token: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Groups of words, the first piece of each deciding: (group of each word, that word), for words that have
    a token.
    """
    first: dict[int, int] = {}
    for group, word in zip(group_of_token, word_of_token, strict=True):
        first.setdefault(word, group)
    return list(first.values()), list(first)


class TokenIoU(Metric):
    """Mean tIoU, precision, recall and F1 over captions that have a phrase; sums only.

    Args:
        level: what a token is: a ``subword`` piece of the model, or a ``word`` (whitespace token, whose first
            piece decides).
    """

    full_state_update = False
    sums: Tensor
    squares: Tensor
    captions: Tensor

    def __init__(self, level: Level = "subword") -> None:
        super().__init__()
        if level not in ("subword", "word"):
            raise ValueError(f"level must be subword or word, not {level!r}.")
        self.level = level
        for name in ("sums", "squares"):
            self.add_state(name, torch.zeros(4, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("captions", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        grouped: Sequence[tuple[Sequence[int], Sequence[int]]],
        spans: Sequence[Sequence[tuple[int, int]]],
    ) -> None:
        """Adds captions.

        Args:
            grouped: for each caption the group of every token and the word of every token, as `group_tokens`
                gives them.
            spans: for each caption its phrases as spans over words, end exclusive.
        """
        pairs = [words_from_tokens(*caption) if self.level == "word" else caption for caption in grouped]
        phrases = [tokens_of_spans(words, gold) for (_, words), gold in zip(pairs, spans, strict=True)]
        scores = torch.from_numpy(token_scores([groups for groups, _ in pairs], phrases)).to(self.sums.device)
        self.sums += (scores * _SCALE).round().long().sum(dim=0)
        self.squares += (scores**2 * _SCALE).round().long().sum(dim=0)
        self.captions += len(scores)

    def compute(self) -> dict[str, Estimate]:
        """``tiou``, ``precision``, ``recall`` and ``f1`` with their intervals, over all processes."""
        n = int(self.captions)
        return {
            name: mean_estimate(int(self.sums[i]) / _SCALE, int(self.squares[i]) / _SCALE, n)
            for i, name in enumerate(NAMES)
        }
