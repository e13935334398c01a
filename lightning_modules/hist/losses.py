"""The losses of HIST ("Barking Up The Syntactic Tree", arXiv:2412.08110) as pure functions.

Legend: B rows of a batch, h x w grid of a heat map.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["sum", "mean", "relative"]
Combination = Literal["add", "clamp", "max"]
AlphaSchedule = Literal["step", "linear", "constant"]


def addition_loss(
    phrase: Tensor,
    partner: Tensor,
    composite: Tensor,
    reduction: Reduction = "sum",
    combine: Combination = "add",
) -> Tensor:
    """L_add of HIST: the map of "C_i and C_j" should be the sum of the maps of C_i and C_j.

    Args:
        phrase: (B,h,w) maps of C_i; raw as the paper prints it, or each scaled to [0,1]. Two scaled maps can
            add up to 2 where the composite cannot exceed 1, for which ``clamp`` and ``max`` are remedies.
        partner: (B,h,w) maps of C_j.
        composite: (B,h,w) maps of "C_i and C_j".
        reduction: over the grid: ``sum`` as the paper prints it; ``mean``; or ``relative``, the sum as a
            share of all that the maps hold, in [0,1], which neither a smaller scale of all maps nor fewer
            cells can lower. Over rows always the mean.
        combine: how the two maps are joined.

    Example:
        >>> one = torch.tensor([[[0.2, 0.0]]])
        >>> other = torch.tensor([[[0.0, 0.5]]])
        >>> addition_loss(one, other, one + other).item()
        0.0
        >>> addition_loss(one, other, torch.zeros(1, 1, 2)).item()
        0.699999988079071
    """
    if not len(phrase):
        return phrase.sum() * 0
    joined = torch.maximum(phrase, partner) if combine == "max" else phrase + partner
    if combine == "clamp":
        joined = joined.clamp(max=1)
    difference = (joined - composite).abs().flatten(1)
    if reduction == "relative":
        return (difference.sum(dim=1) / ((joined + composite).flatten(1).sum(dim=1) + 1e-12)).mean()
    if reduction == "mean":
        return difference.mean(dim=1).mean()
    return difference.sum(dim=1).mean()


def vision_language_share(schedule: AlphaSchedule, epoch: float) -> float:
    """alpha of HIST's total loss alpha L_vl + (1 - alpha) (L_vl + L_HIST): 0 at first, 1 from epoch 1 on.

    Args:
        schedule: ``step`` as the code of SelfEQ does (0 in epoch 0, then 1); ``linear`` rises over the first
            two epochs, another reading of the paper's sentence; ``constant`` keeps HIST's losses on for the
            whole run.
        epoch: epochs since the start, with fractions.

    Example:
        >>> [vision_language_share("linear", epoch) for epoch in (0.0, 0.5, 3.0)]
        [0.0, 0.25, 1.0]
    """
    if schedule == "constant":
        return 0.0
    if schedule == "step":
        return float(epoch >= 1)
    return min(1.0, epoch / 2)
