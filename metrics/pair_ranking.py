"""Pairs of which one must score higher: SVO-Probes (a sentence, the right image and a wrong one), FOIL-COCO
(an image, its caption and a foiled one).

SVO-Probes: Hendricks and Nematzadeh 2021, arXiv:2106.09141. FOIL-COCO: Shekhar et al. 2017, arXiv:1705.01359.
Both count a pair as right if the right one scores strictly higher; the accuracy over all pairs is a mean over
pairs, not over groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, rate_estimate


def wins(positive: Tensor, negative: Tensor) -> Tensor:
    """Which pairs are right; a tie is wrong.

    Args:
        positive: (P,) scores of the right ones.
        negative: (P,) scores of the wrong ones.

    Returns:
        (P,) bool.

    Raises:
        ValueError: shapes that differ, or scores that are not finite.

    Example:
        >>> wins(torch.tensor([0.3, 0.2]), torch.tensor([0.1, 0.2])).tolist()
        [True, False]
    """
    if positive.shape != negative.shape or positive.ndim != 1:
        raise ValueError(
            f"scores have shapes {tuple(positive.shape)} and {tuple(negative.shape)}, not (P,) twice."
        )
    if not (positive.isfinite() & negative.isfinite()).all():
        raise ValueError("a score is NaN or infinite.")
    return positive > negative


class PairRanking(Metric):
    """Accuracy over all pairs and over those of each group; integer sums only.

    Args:
        groups: names of the groups that may occur. A single one gets no figure of its own.
    """

    full_state_update = False
    won: Tensor
    asked: Tensor

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__()
        self.groups = list(dict.fromkeys(groups))
        for name in ("won", "asked"):
            self.add_state(name, torch.zeros(len(self.groups), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, positive: Tensor, negative: Tensor, groups: Sequence[str]) -> None:
        """Adds pairs.

        Args:
            positive: (P,) scores of the right ones.
            negative: (P,) scores of the wrong ones.
            groups: the group of each pair.

        Raises:
            ValueError: an unknown group, shapes that differ, or scores that are not finite.
        """
        right = wins(positive, negative).long().to(self.won.device)
        index = torch.tensor(
            [self.groups.index(group) for group in groups], dtype=torch.long, device=self.won.device
        )
        self.won.index_add_(0, index, right)
        self.asked.index_add_(0, index, torch.ones_like(right))

    def compute(self) -> dict[str, Estimate]:
        """``accuracy``, and ``accuracy_<group>`` for each of several groups, with Wilson intervals, over all
        processes.
        """
        estimates = {"accuracy": rate_estimate(int(self.won.sum()), int(self.asked.sum()))}
        if len(self.groups) > 1:
            for n, group in enumerate(self.groups):
                estimates[f"accuracy_{group}"] = rate_estimate(int(self.won[n]), int(self.asked[n]))
        return estimates
