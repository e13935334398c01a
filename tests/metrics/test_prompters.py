"""Masks from maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.prompters import GrabCut, MapThreshold, top_patches


def two_discs() -> tuple[np.ndarray, np.ndarray, Tensor]:
    """A noisy grey image with a red and a blue disc, their union, and a map that is high on both."""
    rng = np.random.default_rng(0)
    image = rng.integers(100, 140, (64, 64, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:64, :64]
    red = (rows - 20) ** 2 + (columns - 20) ** 2 < 64
    blue = (rows - 44) ** 2 + (columns - 44) ** 2 < 64
    image[red] = (220, 20, 20)
    image[blue] = (20, 20, 220)
    heatmap = torch.zeros(8, 8)
    heatmap[2, 2] = 1.0
    heatmap[5, 5] = 0.9
    return image, red | blue, heatmap


def iou(mask: Tensor, region: np.ndarray) -> float:
    predicted = mask.numpy() > 0.5
    return float((predicted & region).sum() / (predicted | region).sum())


def test_top_patches_are_the_highest_first() -> None:
    heatmap = torch.arange(8.0).view(2, 4)
    assert top_patches(heatmap).tolist() == [[0.75, 0.875], [0.75, 0.625], [0.75, 0.375], [0.75, 0.125]]
    assert top_patches(heatmap, 20).shape == (8, 2)


def test_grabcut_finds_the_edges_of_what_the_map_points_at() -> None:
    image, region, heatmap = two_discs()
    mask = GrabCut(patches=2).mask(image, heatmap)
    assert iou(mask, region) > 0.95
    assert iou(MapThreshold().mask(image, heatmap), region) < 0.8
    assert torch.equal(mask, GrabCut(patches=2).mask(image, heatmap))


@pytest.mark.parametrize("reach", [0.0, 0.3, 2.0])
def test_grabcut_on_an_image_of_one_colour(reach: float) -> None:
    mask = GrabCut(reach=reach).mask(np.full((20, 30, 3), 7, np.uint8), torch.rand(4, 4))
    assert mask.shape == (20, 30)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}


def test_threshold_is_a_share_of_the_maximum() -> None:
    heatmap = torch.tensor([[0.2, 0.05], [0.15, 0.0]])
    mask = MapThreshold(0.5).mask(np.zeros((2, 2, 3), np.uint8), heatmap)
    assert mask.tolist() == [[1.0, 0.0], [1.0, 0.0]]
