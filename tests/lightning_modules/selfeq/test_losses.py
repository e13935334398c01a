"""SelfEQ's losses on numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_modules.selfeq.losses import consistency_loss, similarity_loss

PHRASE = torch.tensor([[[0.9, 0.1]], [[0.3, 0.6]]])
EQUIVALENT = torch.tensor([[[0.1, 0.5]], [[0.5, 0.1]]])


def test_similarity() -> None:
    """Differences .8, .4, .2 and .5, each squared and halved, since none exceeds 1."""
    expected = (0.64 + 0.16 + 0.04 + 0.25) / 2 / 4
    assert similarity_loss(PHRASE, EQUIVALENT).item() == pytest.approx(expected, abs=1e-6)


def deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def test_consistency() -> None:
    """The sums are 1, .6, .8 and .7: places 0 and 2 are of interest (0.3 and 0.5 add up to 0.8 in float32).
    There the phrase has .6 on average, which is enough, and its equivalent .3, which is .1 too little.
    """
    expected = deviation([0.9, 0, 0.3, 0]) + deviation([0.1, 0, 0.5, 0]) + (0.4 - 0.3)
    assert consistency_loss(PHRASE, EQUIVALENT).item() == pytest.approx(expected, abs=1e-6)


def test_another_threshold() -> None:
    """At .65 place 3 is of interest, too: averages .6 and .233333, the latter below .325."""
    expected = deviation([0.9, 0, 0.3, 0.6]) + deviation([0.1, 0, 0.5, 0.1]) + (0.325 - 0.7 / 3)
    assert consistency_loss(PHRASE, EQUIVALENT, 0.65).item() == pytest.approx(expected, abs=1e-6)


def test_without_a_place_of_interest_it_is_finite() -> None:
    """The public code gives NaN there."""
    assert consistency_loss(PHRASE / 9, EQUIVALENT / 9).item() == pytest.approx(0.8)
