from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.classification import MultilabelAveragePrecision

from metrics.label_ranking import LabelRanking

GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.rand(40, 5, generator=GENERATOR)
LABELS = torch.rand(40, 5, generator=GENERATOR) < 0.2
KEYS = [f"{number}.jpg" for number in range(40)]


def test_it_is_that_of_torchmetrics_and_sklearn() -> None:
    metric = LabelRanking("abcdefgh"[:5])
    for start in (21, 0, 7):
        end = {21: 40, 0: 7, 7: 21}[start]
        metric.update(KEYS[start:end], SCORES[start:end], LABELS[start:end])
    value = metric.compute()["map"]
    assert value.n == 40
    reference = MultilabelAveragePrecision(5)(SCORES, LABELS.long())
    assert value.value == pytest.approx(float(reference), abs=1e-6)
    assert value.value == pytest.approx(average_precision_score(LABELS.numpy(), SCORES.numpy()), abs=1e-9)


def test_classes_that_no_image_shows_do_not_count() -> None:
    metric = LabelRanking("abcdefgh"[:2])
    metric.update(
        ["a", "b"], torch.tensor([[0.9, 0.1], [0.2, 0.3]]), torch.tensor([[True, False], [False, False]])
    )
    assert metric.compute()["map"].value == 1
    metric.reset()
    assert metric.compute()["map"].n == 0
    assert math.isnan(LabelRanking("abcdefgh"[:2]).compute()["map"].value)
