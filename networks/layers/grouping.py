"""Grouping blocks: tokens compete for K groups, and every group takes in the mean of its tokens.

"Discovering Meaningful Units with Visually Grounded Semantics" (called the paper here), equations 1 to 4, on
GroupViT's modules (Xu et al. 2022, arXiv:2202.11094). What the paper does not have is off by default.

Legend: B captions, T tokens (special ones included), K groups, W width. Masks (B,T) are true at tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.precision import full_precision
from networks.layers.transformer import Attention, Mlp


@dataclass(frozen=True)
class GroupingOptions:
    """How tokens are assigned to groups, and what a group takes from its tokens.

    Args:
        block: ``groupvit``, GroupViT's whole block (the paper's figure shows the same blocks for both sides);
            ``minimal``, the paper's equations 1 to 4 literally.
        values: what the groups take in: the ``encoded`` tokens, or ``embedded``, the tokens as they came in.
            Equation 4 prints the latter, which reads like a misprint of the former; but only with it does a
            group hold its own words and nothing of the others.
        eps: added to the number of a group's tokens when their mean is taken; None is 1 for ``groupvit``,
            1e-6 for ``minimal``. With 1e-6 the gradient of the first token that could enter an empty group is
            a million times too large.
        positional_prior: the first weight of `positional_prior`, which is learnt. With it the groups begin as
            K equal contiguous pieces. 0 leaves it out, as in the paper.
        smoothing_radius: neighbours on either side over which scores and noise are averaged, so that
            neighbours tend to go together. 0 in the paper. Where openers are set, the tokens of a unit share
            scores and noise instead.
    """

    block: Literal["groupvit", "minimal"] = "groupvit"
    values: Literal["encoded", "embedded"] = "encoded"
    eps: float | None = None
    positional_prior: float = 0.0
    smoothing_radius: int = 0


def gumbel_noise(like: Tensor) -> Tensor:
    """Noise of Gumbel(0, 1) in the shape of ``like``, in float32."""
    uniform = torch.rand_like(like, dtype=torch.float32)
    tiny = torch.finfo(uniform.dtype).tiny
    return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()


def hard_assignment(scores: Tensor, noise: Tensor | None = None) -> Tensor:
    """One-hot assignment of tokens to groups, with the gradient of their soft-max (straight through).

    Args:
        scores: (B,K,T).
        noise: (B,K,T), added to the scores: the Gumbel soft-max at temperature 1. None in evaluation.

    Returns:
        (B,K,T).

    Example:
        >>> hard_assignment(torch.tensor([[[2.0, 0.0], [1.0, 3.0]]])).round().tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """
    if noise is not None:
        scores = scores + noise
    soft = scores.softmax(dim=1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def group_means(assignment: Tensor, values: Tensor, mask: Tensor, eps: float) -> Tensor:
    """The sum of each group's values over their number plus ``eps``; 0 for a group without tokens.

    Padding is masked here, after the soft-max: that runs over groups, so no score could keep a padded token
    out.

    Args:
        assignment: (B,K,T).
        values: (B,T,W).
        mask: (B,T).
        eps: see `GroupingOptions`.

    Returns:
        (B,K,W).
    """
    kept = assignment * mask[:, None]
    return kept @ values / (kept.sum(dim=-1, keepdim=True) + eps)


def units_of_tokens(is_opener: Tensor, mask: Tensor) -> Tensor:
    """Cuts captions into units: one begins at each opener that follows another word than an opener.

    Args:
        is_opener: (B,T) bool.
        mask: (B,T).

    Returns:
        (B,T) long, the unit of every token. The start token is unit 0, the first word begins unit 1, and
        padding belongs to the last unit.

    Example:
        >>> is_opener = torch.tensor([[False, True, False, True, True, False]])
        >>> units_of_tokens(is_opener, torch.ones(1, 6, dtype=torch.bool)).tolist()
        [[0, 1, 1, 2, 2, 2]]
    """
    is_opener = is_opener & mask
    begins = is_opener & ~F.pad(is_opener[:, :-1], (1, 0), value=True)
    begins[:, 1:2] = True
    return begins.cumsum(dim=1)


def window_average(mask: Tensor, radius: int) -> Tensor:
    """The matrix that averages each token with its neighbours.

    Args:
        mask: (B,T).
        radius: neighbours on either side.

    Returns:
        (B,T,T) float32, a row for each token; padding has no share in any row.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    return _average((positions[:, None] - positions).abs() <= radius, mask)


def unit_average(units: Tensor, mask: Tensor) -> Tensor:
    """The matrix (B,T,T) that averages the tokens of each unit; see `window_average`.

    Args:
        units: (B,T) long, from `units_of_tokens`.
        mask: (B,T).
    """
    return _average(units[:, :, None] == units[:, None], mask)


def _average(together: Tensor, mask: Tensor) -> Tensor:
    kept = (together & mask[:, None]).float()
    return kept / kept.sum(dim=-1, keepdim=True).clamp_min(1)


def positional_prior(mask: Tensor, groups: int) -> Tensor:
    """How well each token's position suits each group, if group k holds the k-th of K equal pieces.

    Args:
        mask: (B,T).
        groups: K.

    Returns:
        (B,K,T): 0 in the middle of the group's piece, and -1 a piece away from it.

    Example:
        >>> positional_prior(torch.ones(1, 4, dtype=torch.bool), 2).argmax(dim=1).tolist()
        [[0, 0, 1, 1]]
    """
    positions = (mask.cumsum(dim=1) - 0.5) / mask.sum(dim=1, keepdim=True).clamp_min(1)
    middles = (torch.arange(groups, device=mask.device) + 0.5) / groups
    return -((positions[:, None] - middles[:, None]) * groups).square()


class Assign(nn.Module):
    """Assigns every token to a group by one attention head (equations 1 to 3), and averages by group.

    Args:
        width: W.
        eps: see `group_means`.
        prior: first weight of `positional_prior`, which is added to the head's scores; 0 leaves it out.
    """

    def __init__(self, width: int, eps: float, prior: float = 0.0) -> None:
        super().__init__()
        self.eps = eps
        # The weight of the positional prior, under the name that it has in checkpoints.
        self.place = nn.Parameter(torch.tensor(prior)) if prior else None
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, average: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Assigns tokens to groups; in training with Gumbel noise.

        Args:
            groups: (B,K,W).
            tokens: (B,T,W), which compete.
            values: (B,T,W), which are averaged.
            mask: (B,T).
            average: (B,T,T) whose rows sum to 1: scores and noise are averaged over these tokens. None leaves
                each token alone.

        Returns:
            The contents of the groups (B,K,W), and the scores (B,K,T); both in float32.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            groups = full_precision(groups)
            tokens = full_precision(tokens)
            values = full_precision(values)
            scores = self.query(groups) @ self.key(tokens).transpose(1, 2) * tokens.shape[-1] ** -0.5
            if self.place is not None:
                scores = scores + self.place * positional_prior(mask, scores.shape[1])
            noise = gumbel_noise(scores) if self.training else None
            if average is not None:
                shares = average.to(scores.dtype).transpose(1, 2)
                scores = scores @ shares
                if noise is not None:  # an average of n has a spread of 1 / sqrt(n); this restores it
                    noise = noise @ (shares / shares.norm(dim=1, keepdim=True).clamp_min(1e-6))
            assignment = hard_assignment(scores, noise)
            means = group_means(assignment, self.value(values), mask, self.eps)
            return self.proj(means), scores


class GroupingBlock(nn.Module):
    """GroupViT's grouping block with as many groups out as in.

    Groups are mixed, read all tokens, compete for them, and take in their means.

    Args:
        width: W.
        heads: of the attention by which groups read tokens.
        groups: K.
        eps: 1 is GroupViT's: a group of n tokens gets n / (n + 1) of their mean.
        prior: see `Assign`.
    """

    def __init__(self, width: int, heads: int, groups: int, eps: float = 1.0, prior: float = 0.0) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.norm_post_tokens = nn.LayerNorm(width)
        self.norm_x = nn.LayerNorm(width)
        self.mlp_inter = Mlp(groups, width // 2)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.norm_post = nn.LayerNorm(width)
        self.assign = Assign(width, eps, prior)
        self.norm_new_x = nn.LayerNorm(width)
        self.mlp_channels = Mlp(width, 4 * width)

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, average: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """New groups (B,K,W) and scores (B,K,T); the arguments are those of `Assign`."""
        groups = self.norm_tokens(groups)
        tokens = self.norm_x(tokens)
        values = self.norm_x(values)
        groups = self.norm_post_tokens(self.mlp_inter(groups.transpose(1, 2)).transpose(1, 2))
        groups = groups + self.attn(groups, tokens, mask[:, None, None])
        groups = self.norm_post(groups + self.mlp(self.norm2(groups)))
        contents, scores = self.assign(groups, tokens, values, mask, average)
        groups = groups + contents
        return groups + self.mlp_channels(self.norm_new_x(groups)), scores


class MinimalGrouping(nn.Module):
    """The paper's equations 1 to 4 and nothing else.

    That is scores, the Gumbel soft-max, straight-through, and the residual on the encoded groups.

    Args:
        width: W.
        eps: see `group_means`.
        prior: see `Assign`.
    """

    def __init__(self, width: int, eps: float = 1e-6, prior: float = 0.0) -> None:
        super().__init__()
        self.norm_groups = nn.LayerNorm(width)
        self.norm_x = nn.LayerNorm(width)
        self.assign = Assign(width, eps, prior)

    def forward(
        self, groups: Tensor, tokens: Tensor, values: Tensor, mask: Tensor, average: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """New groups (B,K,W) and scores (B,K,T); the arguments are those of `Assign`."""
        normed = self.norm_groups(groups)
        contents, scores = self.assign(normed, self.norm_x(tokens), self.norm_x(values), mask, average)
        return groups + contents, scores


def grouping_block(width: int, heads: int, groups: int, options: GroupingOptions) -> nn.Module:
    """The block that the options describe."""
    eps = options.eps
    if options.block == "minimal":
        return MinimalGrouping(width, 1e-6 if eps is None else eps, options.positional_prior)
    return GroupingBlock(width, heads, groups, 1.0 if eps is None else eps, options.positional_prior)
