import pickle
from fractions import Fraction

import pytest
import torch

from metrics.box_accuracy import BoxAccuracy, best_iou


def _boxes(n: int, seed: int) -> torch.Tensor:
    corners = torch.rand(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat((corners[:, :2], corners[:, :2] + corners[:, 2:]), 1)


def test_best_of_the_targets_and_none():
    targets = torch.tensor([[[0.0, 0, 2, 2], [0, 0, 4, 2]], [[0, 0, 2, 2], [torch.nan] * 4]])
    predicted = torch.tensor([[0.0, 0, 4, 2], [torch.nan] * 4])
    assert best_iou(predicted, targets).tolist() == [1, 0]


def test_one_half_is_correct():
    metric = BoxAccuracy()
    metric.update(
        torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([[[0.0, 0, 2, 1]], [[0, 0, 2.001, 1]]])
    )
    assert metric.compute()["box_accuracy"].value == 0.5


def test_mean_iou_does_not_depend_on_the_order_and_is_right():
    predicted, targets = _boxes(500, 0), _boxes(500, 1)[:, None]
    results = []
    for order in (
        torch.arange(500),
        torch.arange(500).flip(0),
        torch.randperm(500, generator=torch.Generator().manual_seed(2)),
    ):
        metric = BoxAccuracy()
        for rows in order.split(7 if len(results) else 500):
            metric.update(predicted[rows], targets[rows])
        results.append(pickle.loads(pickle.dumps(metric)).compute())
    assert results[0] == results[1] == results[2]
    exact = sum(map(Fraction, best_iou(predicted, targets).tolist())) / 500
    assert results[0]["mean_iou"].value == pytest.approx(float(exact), abs=2**-32)
    spread = best_iou(predicted, targets).std().item() / 500**0.5
    assert results[0]["mean_iou"].high - results[0]["mean_iou"].value == pytest.approx(
        1.959964 * spread, rel=1e-5
    )


def test_ten_million_queries_fit():
    metric = BoxAccuracy()
    box = torch.tensor([[0.0, 0, 1, 1]])
    metric.update(box, box[:, None])
    for name in ("hits", "total", "iou_sum", "iou_square_sum"):
        setattr(metric, name, getattr(metric, name) * 10**7)
    assert metric.compute()["mean_iou"].value == 1
