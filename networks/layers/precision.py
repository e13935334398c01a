"""Arithmetic that stays in float32 whatever autocast says."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is in that already.

    Example:
        >>> full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
        >>> full_precision(torch.zeros(1, dtype=torch.float64)).dtype
        torch.float64
    """
    return x if x.dtype == torch.float64 else x.float()
