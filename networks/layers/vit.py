"""The image encoder of ALBEF and BLIP: a pre-norm vision transformer under the official key names.

Legend: N images, (h, w) the patch grid, P = h*w patches, L = 1 + P tokens (the class token first), D width, H
heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth  # type: ignore[import-untyped]

from networks.layers.transformer import Mlp


def square_grid(patches: int) -> tuple[int, int]:
    """(h, w) of a square image's patches. Raises ValueError if their number is not a square.

    Example:
        >>> square_grid(196)
        (14, 14)
    """
    side = math.isqrt(patches)
    if side * side != patches:
        raise ValueError(f"{patches} patches do not belong to a square grid")
    return side, side


def resize_position_embedding(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1,1+P',D) learned on a square grid -> (1,1+h*w,D) for ``grid``; the class token's embedding is kept
    (the reference code's load rule).

    Bicubic without anti-aliasing, and only when the grid differs. Raises ValueError if P' is not a square.
    """
    class_token = pos_embed[:, :1]
    patches = pos_embed[:, 1:]
    own_grid = square_grid(patches.shape[1])
    if own_grid == tuple(grid):
        return pos_embed
    image = patches.unflatten(1, own_grid).permute(0, 3, 1, 2)
    resized = F.interpolate(image.float(), size=grid, mode="bicubic", align_corners=False).to(pos_embed.dtype)
    return torch.cat([class_token, resized.flatten(2).transpose(1, 2)], dim=1)


@dataclass(frozen=True)
class ViTSize:
    """Sizes of a vision transformer; those of ViT-B/16 by default, ViT-L has 1024, 24 and 16.

    Args:
        image_size: side of the square image, in pixels.
        patch_size: side of a patch, in pixels.
        width: D of the tokens.
        depth: number of layers.
        heads: of each attention.
        drop_path: probability with which the last layer's branches are left out for an image in training; it
            rises from 0 at the first layer. 0.1 in BLIP with ViT-L.

    Raises:
        ValueError: sizes that do not fit together.
    """

    image_size: int = 256
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(
                f"an image of {self.image_size} pixels cannot be cut into patches of {self.patch_size}"
            )
        if self.width % self.heads:
            raise ValueError(f"a vision width of {self.width} cannot be divided among {self.heads} heads")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path must be in [0, 1), not {self.drop_path}")

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches."""
        side = self.image_size // self.patch_size
        return side, side


class PatchEmbed(nn.Module):
    """(N,3,height,width) -> (N,P,D), row by row."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,height,width) -> (N,P,D)."""
        patches: Tensor = self.proj(images)
        return patches.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention over all tokens, (N,L,D) -> (N,L,D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_nld: Tensor) -> Tensor:
        """(N,L,D) -> (N,L,D)."""
        query, key, value = self.qkv(x_nld).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(query, key, value)
        return self.proj(context.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer layer, (N,L,D) -> (N,L,D)."""

    def __init__(self, width: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, x_nld: Tensor) -> Tensor:
        """(N,L,D) -> (N,L,D)."""
        x_nld = x_nld + self.drop_path(self.attn(self.norm1(x_nld)))
        return x_nld + self.drop_path(self.mlp(self.norm2(x_nld)))


class ImageTokens(nn.Module):
    """Base of what turns images into tokens (N,L,D), a token for the whole image first.

    Attributes:
        image_size: side of the square images that are judged, in pixels.
        grid: (h, w) of their patches.
        width: D.
    """

    image_size: int
    grid: tuple[int, int]
    width: int


class VisionTransformer(ImageTokens):
    """ViT with a class token, learned positions and a final norm over all tokens."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.image_size = size.image_size
        self.grid = size.grid
        self.width = size.width
        self.patch_embed = PatchEmbed(size.patch_size, size.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], size.width))
        rates = [size.drop_path * index / max(1, size.depth - 1) for index in range(size.depth)]
        self.blocks = nn.ModuleList(Block(size.width, size.heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # 0.02 at the width of ViT-B; narrower layers start wider.
                nn.init.trunc_normal_(module.weight, std=0.02 * (768 / size.width) ** 0.5)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,image_size,image_size) -> (N,L,D). Raises ValueError for images of another size."""
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {tuple(images.shape[-2:])} pixels but this model takes {self.image_size} x "
                f"{self.image_size}"
            )
        patches = self.patch_embed(images)
        x_nld = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x_nld = block(x_nld)
        return self.norm(x_nld)
