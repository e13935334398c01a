"""Contrast of images and texts, as several methods share it.

Legend: B images with a caption each, P texts, L places of an image, D numbers of a vector. All vectors have
length 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attention_pool(cosines: Tensor, temperature: float) -> Tensor:
    """The similarity of a phrase and an image: the cosines of its places, weighted by their own softmax.

    Args:
        cosines: (...,L).
        temperature: towards 0, the best place alone counts.

    Example:
        >>> attention_pool(torch.tensor([[0.0, 1.0]]), temperature=0.01)
        tensor([1.])
    """
    return (torch.softmax(cosines / temperature, dim=-1) * cosines).sum(-1)


def phrase_image_similarity(phrases: Tensor, places: Tensor, temperature: float) -> Tensor:
    """(P,D) phrases and (B,L,D) places -> (P,B) similarities."""
    batch, number, dim = places.shape
    cosines = (phrases @ places.reshape(batch * number, dim).T).view(len(phrases), batch, number)
    return attention_pool(cosines, temperature)


def global_contrast(images: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE of whole images and whole captions both ways: (B,D), (B,D), () -> ()."""
    return contrast_of_pairs(scale * images @ captions.T)


def contrast_of_pairs(logits: Tensor) -> Tensor:
    """InfoNCE both ways of (B,B) scaled similarities, those of pairs on the diagonal."""
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
