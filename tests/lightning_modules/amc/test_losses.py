"""AMC's margins on numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from lightning_modules.amc.losses import max_margin_loss, mean_margin_loss

MAPS = torch.tensor([[[0.9, 0.1], [0.3, 0.5]], [[0.2, 0.8], [0.0, 0.4]]])
REGIONS = torch.tensor([[[True, False], [False, False]], [[True, False], [True, False]]])


@pytest.mark.parametrize(("margin", "expected"), [(0.1, 0.1533333), (0.0, 0.0533333), (-0.2, 0.0)])
def test_means_over_the_pixels_of_all_maps(margin: float, expected: float) -> None:
    """Inside are .9, .2 and 0, on average .366667; outside .1, .3, .5, .8 and .4, on average .42."""
    assert mean_margin_loss(MAPS, REGIONS, margin).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("margin", "expected"), [(0.5, 0.6), (0.0, 0.3), (0.9, 0.5 * (0.5 + 1.5))])
def test_highest_values_of_each_map(margin: float, expected: float) -> None:
    """Map 0 has .9 inside and .5 outside, map 1 .2 and .8."""
    assert max_margin_loss(MAPS, REGIONS, margin).item() == pytest.approx(expected, abs=1e-6)


def test_regions_without_an_outside() -> None:
    everything = torch.ones_like(REGIONS)
    assert mean_margin_loss(MAPS, everything).item() == 0
    assert max_margin_loss(MAPS, everything).item() == 0
