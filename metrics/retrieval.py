"""Image-text retrieval: how often what belongs together is among the first that are found, both ways.

As for COCO and Flickr30k in the splits of Karpathy and Fei-Fei (2015, arXiv:1412.2306): from an image to its
texts (TR), of which the best one counts, and from a text to its image (IR).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, rate_estimate

FIRST = (1, 5, 10)
MISSED = torch.iinfo(torch.long).max  # the rank of what was not even a candidate

Direction = Literal["TR", "IR"]
DIRECTIONS: tuple[Direction, ...] = ("TR", "IR")


def ranks_of_right(scores: Tensor, right: Tensor, counts: Tensor | None = None) -> Tensor:
    """How many wrong candidates each query puts before the best of the right ones.

    A wrong candidate with the same score comes first, so that a model that cannot tell anything apart finds
    nothing.

    Args:
        scores: (Q,C) of the candidates of Q queries.
        right: (Q,C) bool, which of them are right.
        counts: (Q,C) or (C,) long, how often a candidate stands in the set; by default once.

    Returns:
        (Q,) long; `MISSED` where no candidate is right.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> scores = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.5, 0.1]])
        >>> right = torch.tensor([[False, True, True], [True, False, False]])
        >>> ranks_of_right(scores, right).tolist()
        [1, 1]
    """
    if scores.isnan().any():
        raise ValueError("a score is NaN.")
    best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    before = (scores >= best) & ~right
    if counts is None:
        ranks = before.sum(dim=1)
    else:
        ranks = (before * counts).sum(dim=1)
    return torch.where(right.any(dim=1), ranks, MISSED)


def chance(candidates: int, right: int, first: int) -> float:
    """How likely one of the right candidates is among the first of a random order.

    Example:
        >>> chance(candidates=1000, right=1, first=10)
        0.01
    """
    wrong = candidates - right
    if first > wrong:
        return 1.0
    orders = math.comb(candidates, first)
    return (orders - math.comb(wrong, first)) / orders


class Recalls(Metric):
    """``TR@1``, ``TR@5``, ``TR@10``, the same of ``IR``, and ``R@mean``, the mean of the six, which the
    public codes choose checkpoints by. Integer sums only.

    Example:
        >>> recalls = Recalls()
        >>> recalls.update("TR", torch.tensor([0, 4]))
        >>> recalls.update("IR", torch.tensor([7]))
        >>> [(name, estimate.value) for name, estimate in recalls.compute().items()][:3]
        [('TR@1', 0.5), ('TR@5', 1.0), ('TR@10', 1.0)]
    """

    full_state_update = False
    hits: Tensor
    queries: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(2, len(FIRST), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("queries", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, direction: Direction, ranks: Tensor) -> None:
        """Adds queries of one direction.

        Args:
            direction: of the two.
            ranks: (Q,) long, see `ranks_of_right`.
        """
        row = DIRECTIONS.index(direction)
        for column, first in enumerate(FIRST):
            self.hits[row, column] += (ranks < first).sum().to(self.hits.device)
        self.queries[row] += len(ranks)

    def compute(self) -> dict[str, Estimate]:
        """The rates over all processes with Wilson intervals; the mean has none."""
        estimates = {
            f"{direction}@{first}": rate_estimate(int(self.hits[row, column]), int(self.queries[row]))
            for row, direction in enumerate(DIRECTIONS)
            for column, first in enumerate(FIRST)
        }
        return estimates | mean_recall(estimates, int(self.queries.sum()))


class ChanceRecalls(Metric):
    """What a random order would find on the same queries, computed and not drawn."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.estimates: dict[str, Estimate] = {}

    def update(self, texts_of_images: Sequence[int]) -> None:
        """Takes the whole set.

        Args:
            texts_of_images: how many texts each image has.
        """
        images = len(texts_of_images)
        texts = sum(texts_of_images)
        for first in FIRST:
            rates = [chance(texts, own, first) for own in texts_of_images]
            value = sum(rates) / images if images else math.nan
            self.estimates[f"TR@{first}"] = Estimate(value, math.nan, math.nan, images)
        for first in FIRST:
            value = chance(images, 1, first) if images else math.nan
            self.estimates[f"IR@{first}"] = Estimate(value, math.nan, math.nan, texts)
        self.estimates |= mean_recall(self.estimates, images + texts)

    def compute(self) -> dict[str, Estimate]:
        """As of `Recalls`, without intervals."""
        return self.estimates


def mean_recall(estimates: dict[str, Estimate], queries: int) -> dict[str, Estimate]:
    """``R@mean``, without an interval, since its six rates are of the same queries."""
    value = sum(estimate.value for estimate in estimates.values()) / len(estimates)
    return {"R@mean": Estimate(value, math.nan, math.nan, queries)}
