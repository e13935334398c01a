from __future__ import annotations

import pytest
import torch

from lightning_modules.similarity_map.losses import (
    area_loss,
    background_loss,
    foreground_loss,
    pseudo_label_loss,
    relevance_loss,
    resized,
    under_masks,
)

UNIT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
TEXTS = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])


def test_own_texts_or_all_texts() -> None:
    """Cosines are .6, .8 in the first row and -.8, .6 in the second of images by texts."""
    assert foreground_loss(UNIT, TEXTS).item() == pytest.approx(0.4)
    assert foreground_loss(UNIT, TEXTS, "all").item() == pytest.approx(1 - (0.6 - 0.8 + 0.8 + 0.6) / 4)
    assert background_loss(UNIT, -TEXTS).item() == pytest.approx(-0.6)
    assert background_loss(UNIT, -TEXTS, absolute=True).item() == pytest.approx(0.6)
    assert background_loss(UNIT, TEXTS, "all").item() == pytest.approx(0.3)
    assert background_loss(UNIT, TEXTS, "all", absolute=True).item() == pytest.approx(0.7)


def test_relevance_and_area() -> None:
    masks = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
    assert relevance_loss(masks, torch.zeros_like(masks)).item() == pytest.approx(0.75)
    assert area_loss(masks).item() == pytest.approx(0.75)
    assert area_loss(masks, "sum").item() == pytest.approx(1.5)
    assert area_loss(masks, "l2").item() == pytest.approx((1 + 2**0.5) / 2)


def test_pseudo_labels_are_brought_to_the_size_of_the_masks() -> None:
    masks = torch.tensor([[[0.0, 0.25, 0.75, 1.0]] * 4])
    labels = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert pseudo_label_loss(masks, labels).item() == 0  # half-pixel centres
    assert pseudo_label_loss(masks + 0.5, labels).item() == pytest.approx(0.25)
    assert pseudo_label_loss(masks + 0.5, labels, "sum").item() == pytest.approx(0.25 * 16)


def test_what_a_mask_takes_away_is_grey() -> None:
    images = torch.full((1, 3, 1, 2), 2.0)
    under, rest = under_masks(images, torch.tensor([[[1.0, 0.25]]]))
    assert under[0, 0].tolist() == [[2.0, 0.5]]
    assert rest[0, 0].tolist() == [[0.0, 1.5]]


def test_resizing_puts_corners_on_corners_and_keeps_what_fits() -> None:
    images = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
    assert resized(images, (2, 2)) is images
    assert resized(images, (3, 3))[0, 0].tolist() == [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]
