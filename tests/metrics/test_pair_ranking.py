from __future__ import annotations

import pytest
import torch

from metrics.intervals import wilson
from metrics.pair_ranking import PairRanking, wins


def test_a_tie_is_lost() -> None:
    assert wins(torch.tensor([0.3, 0.2, 0.5]), torch.tensor([0.2, 0.2, 0.6])).tolist() == [True, False, False]


def test_accuracy_is_over_pairs_and_over_each_group() -> None:
    metric = PairRanking(["object", "subject", "verb"])
    metric.update(torch.tensor([1.0, 0.0, 1.0]), torch.zeros(3), ["verb", "verb", "verb"])
    metric.update(torch.tensor([1.0]), torch.zeros(1), ["object"])
    found = metric.compute()
    assert found["accuracy"].value == 3 / 4
    assert (found["accuracy"].low, found["accuracy"].high) == wilson(3, 4)
    assert found["accuracy_verb"].value == pytest.approx(2 / 3)
    assert found["accuracy_object"].value == 1
    assert found["accuracy_subject"].n == 0


def test_a_single_group_has_no_figure_of_its_own() -> None:
    metric = PairRanking(["foil"])
    metric.update(torch.ones(2), torch.zeros(2), ["foil", "foil"])
    assert list(metric.compute()) == ["accuracy"]


def test_what_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="NaN"):
        wins(torch.tensor([float("nan")]), torch.zeros(1))
    with pytest.raises(ValueError, match="shapes"):
        wins(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="not in list"):
        PairRanking(["verb"]).update(torch.ones(1), torch.zeros(1), ["noun"])
