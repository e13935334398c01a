"""A plain pre-norm transformer layer, as in GroupViT's code, with optional cross-attention.

Legend: B texts, Q queries, M memory vectors, H heads, W width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of queries over a memory.

    Args:
        width: W.
        heads: H; they divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attends to the memory.

        Args:
            queries: (B,Q,W).
            memory: (B,M,W).
            mask: broadcast to (B,H,Q,M), true where a query may look; None is everywhere.
            causal: a query sees only the memory up to its own position.

        Returns:
            (B,Q,W).
        """
        query = self._split_heads(self.query(queries))
        key = self._split_heads(self.key(memory))
        value = self._split_heads(self.value(memory))
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.proj(context.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with a GELU in between.

    Args:
        width: of the input, and of the output.
        hidden: of the layer in between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm self-attention, cross-attention if asked for, and a feed-forward layer.

    Args:
        width: W.
        heads: H.
        cross: whether the layer has cross-attention.
    """

    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        if cross:
            self.norm_cross = nn.LayerNorm(width)
            self.cross_attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, causal: bool = False, memory: Tensor | None = None
    ) -> Tensor:
        """Mixes a sequence with itself and, if there is one, with a memory.

        Args:
            x: (B,Q,W).
            mask: of the self-attention, see `Attention`.
            causal: of the self-attention.
            memory: (B,M,W), for the cross-attention.

        Returns:
            (B,Q,W).
        """
        normed = self.norm1(x)
        x = x + self.attn(normed, normed, mask, causal)
        if memory is not None:
            x = x + self.cross_attn(self.norm_cross(x), memory)
        return x + self.mlp(self.norm2(x))
