"""The losses of SelfEQ (He et al. 2024, arXiv:2312.04554) as pure functions.

Legend: M pairs of maps, h x w their grid.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def similarity_loss(phrase: Tensor, equivalent: Tensor) -> Tensor:
    """L_sim of SelfEQ's code: the mean smooth L1 between the maps of two phrases that mean the same.

    Args:
        phrase: (M,h,w) in [0,1].
        equivalent: (M,h,w) in [0,1].

    Example:
        >>> similarity_loss(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[0.0, 0.5]]])).item()
        0.25
    """
    return F.smooth_l1_loss(equivalent, phrase)


def consistency_loss(phrase: Tensor, equivalent: Tensor, threshold: float = 0.8) -> Tensor:
    """L_cst of SelfEQ's code: where both maps together are high, each is even, and high itself.

    The places of interest are those where the sum of both maps reaches the threshold. Of each map, zero
    elsewhere, it takes the standard deviation over all places of the batch, and by how much its mean over the
    places of interest falls short of half the threshold.

    Args:
        phrase: (M,h,w) in [0,1].
        equivalent: (M,h,w) in [0,1].
        threshold: of the sum of both.

    Example:
        >>> consistency_loss(torch.tensor([[[0.75, 0.0]]]), torch.tensor([[[0.25, 0.0]]])).item()
        0.8571068048477173
    """
    interesting = phrase + equivalent >= threshold
    number = interesting.sum().clamp(min=1)
    loss = torch.zeros((), device=phrase.device)
    for maps in (phrase, equivalent):
        kept = maps * interesting
        loss = loss + kept.std() + F.relu(threshold / 2 - kept.sum() / number)
    return loss
