"""The losses of g (WWbL) and of g++ as pure functions.

Legend: B images of a batch with a text each, S x S pixels, D numbers of a vector. Masks are maps in [0,1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Pairs = Literal["diagonal", "all"]
AreaNorm = Literal["mean", "l2", "sum"]
Reduction = Literal["mean", "sum"]


def relevance_loss(masks: Tensor, relevance: Tensor) -> Tensor:
    """L_rmap of WWbL: the mean squared difference of masks (B,S,S) and relevance maps of the same size."""
    return F.mse_loss(masks, relevance)


def pair_cosines(images: Tensor, texts: Tensor, pairs: Pairs = "diagonal") -> Tensor:
    """Cosines of images and texts.

    Args:
        images: (B,D), of length 1.
        texts: (B,D), of length 1.
        pairs: each image with its own text, as the papers write it, or ``all`` B x B pairs, as the public
            code of g computes it.

    Example:
        >>> axes = torch.eye(2)
        >>> pair_cosines(axes, axes).tolist(), pair_cosines(axes, axes, "all").tolist()
        ([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
    """
    if pairs == "all":
        return images @ texts.t()
    return (images * texts).sum(dim=1)


def foreground_loss(images: Tensor, texts: Tensor, pairs: Pairs = "diagonal") -> Tensor:
    """L_fore: what is under the mask should look like the text. The mean of 1 - cosine.

    Args:
        images: (B,D), of the images under their masks.
        texts: (B,D).
        pairs: see `pair_cosines`.
    """
    return (1 - pair_cosines(images, texts, pairs)).mean()


def background_loss(
    images: Tensor, texts: Tensor, pairs: Pairs = "diagonal", absolute: bool = False
) -> Tensor:
    """L_back: what is not under the mask should not look like the text. The mean cosine.

    Args:
        images: (B,D), of the images under the complement of their masks.
        texts: (B,D).
        pairs: see `pair_cosines`.
        absolute: of each cosine, as the public code of g has it.
    """
    cosines = pair_cosines(images, texts, pairs)
    return (cosines.abs() if absolute else cosines).mean()


def area_loss(masks: Tensor, norm: AreaNorm = "mean") -> Tensor:
    """L_reg: masks should be small.

    Args:
        masks: (B,S,S).
        norm: the mean over pixels, their Euclidean norm, or their sum; over images the mean.

    Example:
        >>> masks = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
        >>> [area_loss(masks, norm).item() for norm in ("mean", "l2", "sum")]
        [0.25, 1.0, 1.0]
    """
    pixels = masks.flatten(1)
    if norm == "l2":
        return pixels.norm(dim=1).mean()
    if norm == "sum":
        return pixels.sum(dim=1).mean()
    return pixels.mean()


def pseudo_label_loss(masks: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
    """L_pseudo of g++: masks should be their pseudo-labels.

    Args:
        masks: (B,S,S).
        labels: (B,h,w), brought to the size of the masks.
        reduction: of the squared differences over pixels; over images always the mean.
    """
    labels = F.interpolate(labels[:, None], masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    squares = (masks - labels).square().flatten(1)
    return squares.sum(dim=1).mean() if reduction == "sum" else squares.mean()


def under_masks(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B,3,S,S) under their masks (B,S,S), and under the complements. What is taken away becomes 0."""
    weights = masks[:, None]
    return images * weights, images * (1 - weights)


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images or maps (B,C,H,W) of another size, corners on corners, as the public code of g resizes.

    Example:
        >>> resized(torch.tensor([[[[0.0, 1.0]]]]), (1, 3)).tolist()
        [[[[0.0, 0.5, 1.0]]]]
    """
    if images.shape[-2:] == torch.Size(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=True)
