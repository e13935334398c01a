from __future__ import annotations

import numpy as np
import pytest
import torch

from callbacks.pictures.gallery import contact_sheet
from callbacks.pictures.grounding import CAPTION, GREEN, HEIGHT, ORANGE, RED, draw, overlay
from datamodules.batches import Preprocessing
from metrics.decisions import Decision

SIZE = (100, 100)
CLIP = Preprocessing(8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def test_hot_places_are_coloured_more_than_cold_ones() -> None:
    image = np.full((4, 4, 3), 128, np.uint8)
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[1, 2] = 1
    picture = overlay(image, heatmap)
    change = np.abs(picture.astype(int) - 128).sum(-1)
    assert change[1, 2] > change[0, 0]
    assert (picture[heatmap == 0] == picture[0, 0]).all()
    assert picture.dtype == np.uint8


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(-1).sum())


NOWHERE = Decision((0, 0), None, 0.0, torch.rand(4, 4), None, None)


@pytest.mark.parametrize(
    ("size", "width"),
    [((100, 100), HEIGHT), ((100, 200), 2 * HEIGHT), ((100, 1000), 2 * HEIGHT), ((1000, 50), 96)],
)
def test_panels_keep_the_aspect_within_bounds(size: tuple[int, int], width: int) -> None:
    panel = draw(np.zeros((8, 8, 3), np.uint8), "a dog", NOWHERE, torch.zeros(0, 4), size)
    assert panel.shape == (HEIGHT + CAPTION, 2 * width + 4, 3)
    assert panel.dtype == np.uint8


def test_boxes_and_the_verdict_are_drawn_as_decided() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    true_box = torch.tensor([[10.0, 10.0, 40.0, 40.0]])
    heatmap = torch.zeros(8, 8)
    panels = {
        hit: draw(
            image, "a dog", Decision((25, 75), (50.0, 50.0, 75.0, 100.0), 1.0, heatmap, hit, 0.0), boxes, SIZE
        )
        for hit, boxes in ((True, true_box), (False, true_box), (None, true_box[:0]))
    }
    for hit, panel in panels.items():
        right = panel[CAPTION:, HEIGHT + 4 :]
        rows, columns = (right == ORANGE).all(-1).nonzero()
        scale = HEIGHT / 100
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert corners == pytest.approx([50 * scale, 50 * scale, 75 * scale, HEIGHT], abs=2)  # a line's width
        assert (right[round(75.5 * scale - 0.5), round(25.5 * scale - 0.5)] == 255).all()
        assert (count(panel, RED) > 20) == (hit is False)
        assert (count(panel[:, :HEIGHT], GREEN) > 300) == (hit is not None)  # the true box, on the left, too
    assert count(panels[True], GREEN) > count(panels[False], GREEN)


def test_the_protocol_is_named() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    without, named = (draw(image, "", NOWHERE, torch.zeros(0, 4), SIZE, name) for name in ("", "selfeq"))
    assert (without[:CAPTION] == 255).all()
    assert count(named[:CAPTION, HEIGHT:], (255, 255, 255)) < CAPTION * (HEIGHT + 4)


def test_any_phrase_can_be_written() -> None:
    for phrase in ("", "ünïcode 犬", "a very long phrase " * 20):
        panel = draw(np.zeros((8, 8, 3), np.uint8), phrase, NOWHERE, torch.zeros(0, 4), (50, 50), "clean")
        assert panel.shape[0] == HEIGHT + CAPTION


def test_contact_sheet_places_every_panel_once() -> None:
    panels = [np.full((10, width, 3), 10 * n, np.uint8) for n, width in enumerate((5, 8, 3, 6), 1)]
    sheet = contact_sheet(panels, columns=3)
    assert sheet.shape == (2 * 18, 3 * 16, 3)
    for n, panel in enumerate(panels, 1):
        assert count(sheet, (10 * n,) * 3) == panel.shape[0] * panel.shape[1]
    assert contact_sheet(panels[:1]).shape == (18, 13, 3)
