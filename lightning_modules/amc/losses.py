"""The losses of AMC (Yang et al. 2023, arXiv:2206.15462) as pure functions.

Legend: M maps, H x W pixels of a map that was enlarged to the size of its region.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def mean_margin_loss(maps: Tensor, regions: Tensor, margin: float = 0.1) -> Tensor:
    """L_mean of AMC: inside their regions the maps are higher on average than outside, by a margin.

    Inside and outside are averaged over the pixels of all maps together, as the public code does.

    Args:
        maps: (M,H,W) in [0,1].
        regions: (M,H,W) bool.
        margin: by how much.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[1.0, 0.5, 0.0, 0.5]]])
        >>> regions = torch.tensor([[[True, False, False, False]]])
        >>> mean_margin_loss(maps, regions).item(), mean_margin_loss(maps, ~regions).item()
        (0.0, 0.7666666507720947)
    """
    inside = (maps * regions).sum() / regions.sum().clamp(min=1)
    outside = (maps * ~regions).sum() / (~regions).sum().clamp(min=1)
    return F.relu(outside - inside + margin)


def max_margin_loss(maps: Tensor, regions: Tensor, margin: float = 0.5) -> Tensor:
    """L_max of AMC: each map is highest inside its region, by a margin; the mean over maps.

    Args:
        maps: (M,H,W) in [0,1].
        regions: (M,H,W) bool.
        margin: by how much.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[1.0, 0.75, 0.0, 0.5]]])
        >>> regions = torch.tensor([[[True, False, False, False]]])
        >>> max_margin_loss(maps, regions).item(), max_margin_loss(maps, ~regions).item()
        (0.25, 0.75)
    """
    inside = (maps * regions).flatten(1).amax(dim=1)
    outside = (maps * ~regions).flatten(1).amax(dim=1)
    return F.relu(outside - inside + margin).mean()
