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
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, mean_estimate
from metrics.sums import SCALE, fixed_point

Level = Literal["subword", "word"]
NAMES = ("tiou", "precision", "recall", "f1")


def token_scores(
    assignments: Sequence[Sequence[int]], phrases: Sequence[Sequence[Iterable[int]]]
) -> np.ndarray:
    """Scores of every caption that has a phrase.

    For a group g and a phrase s, with A the tokens of all phrases:
    IoU = |g & s| / |(g & A) | s|, P = |g & s| / |g & A|, R = |g & s| / |s|.
    The one-to-one matching of groups and phrases with the greatest sum of IoUs is taken, and each score is
    averaged over its min(groups, phrases) pairs.

    Args:
        assignments: for each caption the group of each of its tokens, any integers.
        phrases: for each caption its phrases, each as indices of tokens (a ``range`` will do); phrases do not
            overlap.

    Returns:
        (C,4) float64: tIoU, P, R, F1 for each of the C captions that have a phrase, in their order.

    Raises:
        ValueError: lengths that differ, or a phrase without tokens, or out of its caption.

    Example:
        "a dog | runs", grouped as "a | dog runs", with the phrase "a dog".

        >>> token_scores([[0, 1, 1]], [[range(0, 2)]]).tolist()
        [[0.5, 1.0, 0.5, 0.6666666666666666]]
    """
    if len(assignments) != len(phrases):
        raise ValueError(f"{len(assignments)} captions are grouped and {len(phrases)} have phrases.")
    scores = []
    for groups, phrases_of_caption in zip(assignments, phrases, strict=True):
        spans = [list(phrase) for phrase in phrases_of_caption]
        if any(not span or min(span) < 0 or max(span) >= len(groups) for span in spans):
            raise ValueError(
                f"a phrase has no token, or one out of the {len(groups)} of its caption: {spans}."
            )
        if spans:
            scores.append(_scores(list(groups), spans))
    return np.array(scores).reshape(-1, 4)


def _scores(groups: list[int], spans: list[list[int]]) -> np.ndarray:
    """(4,) of one caption."""
    from scipy.optimize import linear_sum_assignment  # here, since it takes half a second

    distinct_groups, group_of_token = np.unique(groups, return_inverse=True)
    shared = np.zeros((len(distinct_groups), len(spans)))
    for column, span in enumerate(spans):
        np.add.at(shared[:, column], group_of_token[span], 1)
    group_sizes = shared.sum(axis=1)  # tokens in no phrase do not count
    phrase_sizes = shared.sum(axis=0)
    iou = shared / (group_sizes[:, None] + phrase_sizes - shared)

    rows, columns = linear_sum_assignment(iou, maximize=True)
    overlap = shared[rows, columns]
    group_size = group_sizes[rows]
    phrase_size = phrase_sizes[columns]
    precision = overlap / np.maximum(group_size, 1)
    recall = overlap / phrase_size
    f1 = 2 * overlap / (group_size + phrase_size)
    return np.stack([iou[rows, columns], precision, recall, f1]).mean(axis=1)


def tokens_of_spans(word_of_token: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Spans over words as lists of tokens. A span of which no token is left (a truncated caption) is dropped.

    Args:
        word_of_token: the word of each token.
        spans: start and end over the words, the end exclusive.

    Example:
        >>> tokens_of_spans([0, 1, 1, 2], [(1, 3)])
        [[1, 2, 3]]
    """
    tokens_of_span = []
    for start, end in spans:
        tokens = [token for token, word in enumerate(word_of_token) if start <= word < end]
        if tokens:
            tokens_of_span.append(tokens)
    return tokens_of_span


def words_from_tokens(
    group_of_token: Sequence[int], word_of_token: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Groups of words; the first token of a word decides.

    Args:
        group_of_token: the group of each token.
        word_of_token: the word of each token.

    Returns:
        The group of each word that has a token, and these words.

    Example:
        >>> words_from_tokens([4, 2, 3], [0, 2, 2])
        ([4, 2], [0, 2])
    """
    group_of_word: dict[int, int] = {}
    for group, word in zip(group_of_token, word_of_token, strict=True):
        group_of_word.setdefault(word, group)
    return list(group_of_word.values()), list(group_of_word)


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
            grouped: for each caption the group of every token and the word of every token, as a module's
                ``group_tokens`` gives them.
            spans: for each caption its phrases as spans over words, end exclusive.
        """
        if self.level == "word":
            grouped = [words_from_tokens(groups, words) for groups, words in grouped]
        assignments = [groups for groups, _ in grouped]
        phrases = [tokens_of_spans(words, gold) for (_, words), gold in zip(grouped, spans, strict=True)]
        scores = torch.from_numpy(token_scores(assignments, phrases)).to(self.sums.device)
        self.sums += fixed_point(scores).sum(dim=0)
        self.squares += fixed_point(scores**2).sum(dim=0)
        self.captions += len(scores)

    def compute(self) -> dict[str, Estimate]:
        """``tiou``, ``precision``, ``recall`` and ``f1`` with their intervals, over all processes."""
        n = int(self.captions)
        return {
            name: mean_estimate(int(self.sums[i]) / SCALE, int(self.squares[i]) / SCALE, n)
            for i, name in enumerate(NAMES)
        }
