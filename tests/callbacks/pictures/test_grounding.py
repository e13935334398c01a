from __future__ import annotations

import numpy as np
import pytest
import torch

from callbacks.pictures.gallery import contact_sheet
from callbacks.pictures.grounding import CAPTION, GREEN, HEIGHT, ORANGE, denormalise, draw, overlay
from datamodules.batches import Preprocessing, normalise

CLIP = Preprocessing(8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def test_denormalise_gives_back_the_pixels() -> None:
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    assert np.array_equal(denormalise(normalise(pixels, CLIP)[0], CLIP), pixels[0].permute(1, 2, 0).numpy())


def test_hot_places_are_coloured_more_than_cold_ones() -> None:
    image = np.full((4, 4, 3), 128, np.uint8)
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[1, 2] = 1
    found = overlay(image, heatmap).astype(int)
    assert np.abs(found[1, 2] - 128).sum() > 0
    assert (found[heatmap == 0] == found[0, 0]).all()
    assert found.dtype == int
    assert found.max() <= 255


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(-1).sum())


@pytest.mark.parametrize(
    ("size", "width"),
    [((100, 100), HEIGHT), ((100, 200), 2 * HEIGHT), ((100, 1000), 2 * HEIGHT), ((1000, 50), 96)],
)
def test_panels_keep_the_aspect_within_bounds(size: tuple[int, int], width: int) -> None:
    panel = draw(np.zeros((8, 8, 3), np.uint8), "a dog", torch.rand(4, 4), torch.zeros(0, 4), size)
    assert panel.shape == (HEIGHT + CAPTION, 2 * width + 4, 3)
    assert panel.dtype == np.uint8


def test_boxes_and_the_hit_are_drawn() -> None:
    heatmap = torch.zeros(8, 8)
    heatmap[1:3, 1:3] = 1
    image, boxes = np.zeros((8, 8, 3), np.uint8), torch.tensor([[10.0, 10.0, 40.0, 40.0]])
    hit = draw(image, "a dog", heatmap, boxes, (100, 100))
    missed = draw(image, "a dog", heatmap.flip(0, 1), boxes, (100, 100))
    assert count(hit[:, :HEIGHT], GREEN) > 300  # the true box is on the left panel, too
    assert count(hit[:, HEIGHT:], ORANGE) > 300
    assert count(hit, (230, 40, 40)) == 0
    assert count(missed, (230, 40, 40)) > 20


def test_any_phrase_can_be_written() -> None:
    for phrase in ("", "ünïcode 犬", "a very long phrase " * 20):
        panel = draw(np.zeros((8, 8, 3), np.uint8), phrase, torch.zeros(4, 4), torch.zeros(0, 4), (50, 50))
        assert panel.shape[0] == HEIGHT + CAPTION


def test_contact_sheet_places_every_panel_once() -> None:
    panels = [np.full((10, width, 3), 10 * n, np.uint8) for n, width in enumerate((5, 8, 3, 6), 1)]
    sheet = contact_sheet(panels, columns=3)
    assert sheet.shape == (2 * 18, 3 * 16, 3)
    for n, panel in enumerate(panels, 1):
        assert count(sheet, (10 * n,) * 3) == panel.shape[0] * panel.shape[1]
    assert contact_sheet(panels[:1]).shape == (18, 13, 3)
