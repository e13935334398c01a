from __future__ import annotations

import numpy as np
import pytest
import torch

from metrics.detections import (
    average_precision,
    components,
    hits_of_detections,
    largest_box,
    matched_boxes,
)
from tests.metrics.test_attention_maps import blocks


def test_components_best_first_and_none_too_small() -> None:
    heat = blocks((0, 0, 4, 2), value=0.6) + blocks((8, 8, 12, 12), value=0.9) + blocks((14, 0, 15, 1))
    heat[2, 4] = 0.6  # touches the first by a corner
    found = components(heat.numpy(), heat.numpy() > 0.5, min_area=4)
    assert found[:, :4].tolist() == [[8, 8, 12, 12], [0, 0, 5, 3]]
    assert found[:, 4] == pytest.approx([0.9, 0.6])
    assert components(np.zeros((3, 3)), np.zeros((3, 3), bool)).shape == (0, 5)


def test_each_box_gets_a_prediction_of_its_own() -> None:
    targets = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60]])
    predicted = torch.tensor([[0.0, 0, 10, 12], [30, 30, 31, 31]])
    found = matched_boxes(predicted, targets)
    assert found[1].tolist() == [0, 0, 10, 12]
    assert found[[0, 2]].isnan().all()
    assert matched_boxes(torch.zeros(0, 4), targets).isnan().all()


def test_a_target_is_found_once() -> None:
    targets = torch.tensor([[0.0, 0, 10, 10]])
    detections = torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert hits_of_detections(detections, targets, 0.5).tolist() == [True, False, False]
    assert hits_of_detections(detections, targets, 0.6).tolist() == [False, True, False]
    assert hits_of_detections(detections, targets[:0], 0.5).tolist() == [False, False, False]


def average_precision_by_definition(scores: list[float], right: list[bool], targets: int) -> float:
    """Every cut between two different scores is a point; precision is the best at that recall or beyond."""
    points = []
    for cut in sorted(set(scores), reverse=True):
        kept = [hit for score, hit in zip(scores, right, strict=True) if score >= cut]
        points.append((sum(kept) / targets, sum(kept) / len(kept)))
    total = 0.0
    before = 0.0
    for recall, _ in points:
        total += (recall - before) * max(precision for other, precision in points if other >= recall)
        before = recall
    return total


def test_average_precision_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        bins = generator.integers(0, 12, size=30)
        hits = generator.random(30) < 0.6
        right, wrong = (torch.from_numpy(np.bincount(bins[chosen], minlength=12)) for chosen in (hits, ~hits))
        expected = average_precision_by_definition(bins.tolist(), hits.tolist(), 25)
        assert average_precision(right, wrong, 25) == pytest.approx(expected)


def test_the_largest_box_is_by_area_times_mean() -> None:
    parts = torch.tensor([[0.0, 0, 2, 2, 0.9], [0, 0, 3, 3, 0.5], [0, 0, 4, 4, 0.2]])
    assert largest_box(parts).tolist() == [0, 0, 3, 3]
    assert largest_box(torch.zeros(0, 5)).isnan().all()
