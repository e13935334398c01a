"""HIST's own losses on numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_modules.hist.losses import addition_loss, vision_language_share


@pytest.mark.parametrize(
    ("reduction", "combine", "expected"),
    [
        ("sum", "add", 0.4),
        ("relative", "add", (0.6 / 2.6 + 0.2 / 1.4) / 2),
        ("mean", "add", 0.2),
        ("sum", "clamp", 0.3),
        ("sum", "max", 0.25),
        ("mean", "max", 0.125),
    ],
)
def test_addition_loss_by_hand(reduction: Any, combine: Any, expected: float) -> None:
    """Added, the maps of row 0 miss their composite by .4 (half of it beyond 1) and .2; those of row 1 by .2
    and 0.
    """
    phrase = torch.tensor([[[0.6, 0.1]], [[0.0, 0.5]]])
    partner = torch.tensor([[[0.6, 0.3]], [[0.1, 0.0]]])
    composite = torch.tensor([[[0.8, 0.2]], [[0.3, 0.5]]])
    assert addition_loss(phrase, partner, composite, reduction, combine).item() == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("step", [0, 0, 1, 1, 1]), ("linear", [0, 0.25, 0.5, 1, 1]), ("constant", [0, 0, 0, 0, 0])],
)
def test_share_of_the_plain_loss(schedule: Any, shares: list[float]) -> None:
    assert [vision_language_share(schedule, epoch) for epoch in (0.0, 0.5, 1.0, 2.0, 30.0)] == shares


def test_relative_addition_loss_ignores_the_scale() -> None:
    maps = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = addition_loss(*maps, "relative")
    assert addition_loss(*(maps * 1e-4), "relative").item() == pytest.approx(expected.item(), rel=1e-4)
    assert 0 < expected.item() < 1
    assert addition_loss(maps[0], maps[1], maps[0] + maps[1], "relative").item() == 0
