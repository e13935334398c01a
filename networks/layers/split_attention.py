"""Self-attention whose four projections are linear layers of their own.

`torch.nn.MultiheadAttention` keeps the projections of queries, keys and values in one parameter and reads
the weight of the fourth without calling its layer. Whatever adapts linear layers (LoRA) misses the first
three and adapts the fourth wrongly. Split, each projection is an ordinary `torch.nn.Linear`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SplitAttention(nn.Module):
    """Multi-head self-attention, called as `torch.nn.MultiheadAttention` with ``batch_first``.

    Args:
        width: numbers of a token.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        """Attends.

        Args:
            query: (N,L,C).
            key: (N,S,C).
            value: (N,S,C).
            attn_mask: (L,S), added to the scores; None for none.

        Returns:
            (N,L,C), and None in place of the weights.
        """
        queries = self._by_head(self.q_proj(query))
        keys = self._by_head(self.k_proj(key))
        values = self._by_head(self.v_proj(value))
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(N,L,C) -> (N,heads,L,C/heads)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


def split(attention: nn.MultiheadAttention) -> SplitAttention:
    """The same attention with projections of their own.

    Example:
        >>> fused = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> tokens = torch.randn(1, 3, 8)
        >>> difference = split(fused)(tokens, tokens, tokens)[0] - fused(tokens, tokens, tokens)[0]
        >>> bool(difference.abs().max() < 1e-5)
        True
    """
    weight = attention.in_proj_weight
    bias = attention.in_proj_bias
    if weight is None or bias is None or not attention.batch_first:
        raise ValueError("only attention with one width, with biases, and with the batch first can be split.")
    with torch.device(weight.device):
        parts = SplitAttention(attention.embed_dim, attention.num_heads).to(weight.dtype)
    projections = (parts.q_proj, parts.k_proj, parts.v_proj)
    for projection, own_weight, own_bias in zip(projections, weight.chunk(3), bias.chunk(3), strict=True):
        projection.weight = _copy(own_weight, weight.requires_grad)
        projection.bias = _copy(own_bias, bias.requires_grad)
    parts.out_proj.weight = attention.out_proj.weight
    parts.out_proj.bias = attention.out_proj.bias
    return parts.train(attention.training)


def fuse(parts: SplitAttention) -> nn.MultiheadAttention:
    """The inverse of `split`: official checkpoints have the fused form.

    Example:
        >>> fused = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> torch.equal(fuse(split(fused)).in_proj_weight, fused.in_proj_weight)
        True
    """
    projections = (parts.q_proj, parts.k_proj, parts.v_proj)
    weight = parts.q_proj.weight
    with torch.device(weight.device):
        attention = nn.MultiheadAttention(weight.shape[0], parts.heads, batch_first=True).to(weight.dtype)
    weights = torch.cat([projection.weight for projection in projections])
    biases = torch.cat([projection.bias for projection in projections])
    attention.in_proj_weight = _copy(weights, weight.requires_grad)
    attention.in_proj_bias = _copy(biases, parts.q_proj.bias.requires_grad)
    attention.out_proj.weight = parts.out_proj.weight
    attention.out_proj.bias = parts.out_proj.bias
    return attention.train(parts.training)


def split_all(module: nn.Module) -> None:
    """Splits every `torch.nn.MultiheadAttention` within a module, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(parent, name, split(child))


def fuse_all(module: nn.Module) -> None:
    """Fuses every `SplitAttention` within a module, in place."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SplitAttention):
                setattr(parent, name, fuse(child))


def project_values(attention: nn.Module, tokens: Tensor) -> Tensor:
    """The values of tokens, (N,L,C) -> (N,L,C), in either form of the attention."""
    return _project(attention, tokens, "v_proj", 2)


def project_keys(attention: nn.Module, tokens: Tensor) -> Tensor:
    """The keys of tokens, (N,L,C) -> (N,L,C), in either form of the attention."""
    return _project(attention, tokens, "k_proj", 1)


def _project(attention: nn.Module, tokens: Tensor, name: str, third: int) -> Tensor:
    if isinstance(attention, nn.MultiheadAttention):
        weight = attention.in_proj_weight.chunk(3)[third]
        bias = attention.in_proj_bias.chunk(3)[third]
        return F.linear(tokens, weight, bias)
    return getattr(attention, name)(tokens)


def _copy(tensor: Tensor, requires_grad: bool) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(), requires_grad=requires_grad)
