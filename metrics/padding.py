"""Heat maps of padded images, cut back to the images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def crop_to_image(maps: Tensor, extents: Tensor | None, padded_size: tuple[int, int]) -> Tensor:
    """The part of each map that covers its image, stretched to the map's own grid.

    A map over a padded image covers the padding, too. Its image begins at the upper left corner and may end
    within a cell, so the part is resampled bilinearly rather than cut at cells.

    Args:
        maps: (Q,h,w) float32 over padded images.
        extents: (Q,2), height and width of the image of each map in pixels of the padded image; None where
            nothing is padded, and the maps are returned as they are.
        padded_size: height and width of the padded images in pixels.

    Returns:
        (Q,h,w) maps over the images alone.

    Example:
        The image fills the left half; its two columns are stretched to four.

        >>> maps = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
        >>> crop_to_image(maps, torch.tensor([[8, 16]]), (8, 32)).round(decimals=2)
        tensor([[[1.0000, 1.0000, 1.0000, 0.7500]]])
    """
    if extents is None or not len(maps):
        return maps
    shares = extents.to(maps) / maps.new_tensor(padded_size)
    height_share, width_share = shares.unbind(dim=1)
    # Coordinates run from -1 to 1 over the whole map: x becomes share * (x + 1) - 1.
    affine = maps.new_zeros(len(maps), 2, 3)
    affine[:, 0, 0] = width_share
    affine[:, 0, 2] = width_share - 1
    affine[:, 1, 1] = height_share
    affine[:, 1, 2] = height_share - 1
    grid = F.affine_grid(affine, [len(maps), 1, *maps.shape[-2:]], align_corners=False)
    cropped = F.grid_sample(maps[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.squeeze(cropped, 1)
