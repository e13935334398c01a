"""Losses that align phrases with places from captions alone: all are contrastive over the batch.

Legend: B images with a caption each, P phrases of all captions, L places of an image, D numbers of a vector.
Unit vectors throughout; similarities are cosines. A batch without phrases has a loss of 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LEFT_OUT = -1e4  # logit of what is no negative


class Phrases(NamedTuple):
    """The phrases of a batch.

    Args:
        vectors: (P,D), in the common space.
        owner: (P,) long, the image whose caption has the phrase.
        meaning: (P,D'), unit vectors of the frozen text tower, by which near-duplicates are recognised.
    """

    vectors: Tensor
    owner: Tensor
    meaning: Tensor


def near_duplicates(meaning: Tensor, threshold: float) -> Tensor:
    """(P,P) bool, which phrases mean nearly the same; each is a duplicate of itself."""
    return meaning @ meaning.T > threshold


def phrase_to_image(logits: Tensor, owner: Tensor, duplicates: Tensor) -> Tensor:
    """InfoNCE of each phrase over the images of the batch.

    An image one of whose own phrases is a near-duplicate is no negative.

    Args:
        logits: (P,B), scaled.
        owner: (P,).
        duplicates: (P,P) bool.
    """
    if not len(owner):
        return logits.sum()
    own = F.one_hot(owner, logits.shape[1]).bool()
    shows_it_too = (duplicates.float() @ own.float()) > 0
    return F.cross_entropy(logits.masked_fill(shows_it_too & ~own, LEFT_OUT), owner)


def image_to_phrase(logits: Tensor, owner: Tensor, duplicates: Tensor) -> Tensor:
    """InfoNCE of the image of each phrase over the phrases of the batch.

    The image's further phrases, and near-duplicates of the phrase, are no negatives.

    Args:
        logits: (P,B), scaled.
        owner: (P,).
        duplicates: (P,P) bool.
    """
    if not len(owner):
        return logits.sum()
    of_owner = logits[:, owner].T  # (P,P): row p holds the similarities of p's image with all phrases
    same_image = owner[:, None] == owner[None, :]
    itself = torch.eye(len(owner), dtype=torch.bool, device=owner.device)
    left_out = (same_image | duplicates) & ~itself
    targets = torch.arange(len(owner), device=owner.device)
    return F.cross_entropy(of_owner.masked_fill(left_out, LEFT_OUT), targets)


def caption_contrast(logits: Tensor, owner: Tensor) -> Tensor:
    """InfoNCE of captions and images both ways; a caption is the mean of its phrases.

    Captions without phrases have no part in it.

    Args:
        logits: (P,B), scaled.
        owner: (P,).
    """
    if not len(owner):
        return logits.sum()
    own = F.one_hot(owner, logits.shape[1]).to(logits.dtype)
    counts = own.sum(0)
    present = counts.nonzero()[:, 0]
    captions = (own.T @ logits)[present] / counts[present, None]
    of_images = captions.T[present]
    to_images = F.cross_entropy(captions, present)
    to_captions = F.cross_entropy(of_images, torch.arange(len(present), device=logits.device))
    return (to_images + to_captions) / 2
