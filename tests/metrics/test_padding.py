"""Maps of padded images against maps of the images themselves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from metrics.padding import crop_to_image


def test_maps_of_images_that_are_not_padded_stay_as_they_are() -> None:
    maps = torch.rand(3, 5, 7)
    assert crop_to_image(maps, None, (40, 56)) is maps


def test_an_image_that_fills_its_batch_keeps_its_map() -> None:
    maps = torch.rand(2, 5, 7)
    cropped = crop_to_image(maps, torch.tensor([[40, 56], [40, 56]]), (40, 56))
    assert torch.allclose(cropped, maps, atol=1e-5)


@pytest.mark.parametrize("extent", [(40, 56), (21, 56), (40, 30), (17, 23), (40, 1), (1, 56)])
def test_positions_are_those_of_the_image(extent: tuple[int, int]) -> None:
    """Of maps whose values are positions in the padded image; the rim is off by half a cell (0.25 pixels)."""
    rows = ((torch.arange(80) + 0.5) / 2)[:, None].expand(80, 112)
    columns = ((torch.arange(112) + 0.5) / 2)[None].expand(80, 112)
    cropped = crop_to_image(torch.stack([rows, columns]), torch.tensor([extent, extent]), (40, 56))
    expected_rows = (torch.arange(80) + 0.5) / 80 * extent[0]
    expected_columns = (torch.arange(112) + 0.5) / 112 * extent[1]
    assert torch.allclose(cropped[0], expected_rows[:, None].expand(80, 112), atol=0.25)
    assert torch.allclose(cropped[1], expected_columns[None].expand(80, 112), atol=0.25)


@pytest.mark.parametrize("extent", [(32, 64), (64, 32), (48, 16), (16, 8)])
def test_a_crop_is_the_stretched_map_of_the_image_alone(extent: tuple[int, int]) -> None:
    """Except beside the padding, where the map of the padded image leads over to it."""
    torch.manual_seed(0)
    height = extent[0] // 8
    width = extent[1] // 8
    alone = torch.rand(20, height, width)
    padded = torch.zeros(20, 8, 8)
    padded[:, :height, :width] = alone
    cropped = crop_to_image(padded, torch.tensor([extent] * 20), (64, 64))
    expected = F.interpolate(alone[:, None], size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    inner_rows = 8 if height == 8 else int(8 * (height - 0.5) / height)
    inner_columns = 8 if width == 8 else int(8 * (width - 0.5) / width)
    inner = (slice(None), slice(inner_rows), slice(inner_columns))
    assert torch.allclose(cropped[inner], expected[inner], atol=1e-5)


def test_no_maps() -> None:
    assert crop_to_image(torch.zeros(0, 4, 4), torch.zeros(0, 2), (8, 8)).shape == (0, 4, 4)
