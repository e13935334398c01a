"""The contrastive loss of whole images and whole captions that several methods share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def global_contrast(images: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE of whole images and whole captions both ways: (B,D), (B,D), () -> ()."""
    logits = scale * images @ captions.T
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
