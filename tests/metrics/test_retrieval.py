from __future__ import annotations

import pytest
import torch

from metrics.retrieval import MISSED, ChanceRecalls, Recalls, chance, ranks_of_right


def test_the_best_right_candidate_counts_and_ties_go_to_the_wrong_ones() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.2, 0.2, 0.2, 0.2], [4.0, 3.0, 2.0, 1.0]])
    right = torch.tensor(
        [[True, False, False, True], [False, True, True, False], [False, False, False, True]]
    )
    assert ranks_of_right(scores, right).tolist() == [1, 2, 3]
    counts = torch.tensor([5, 2, 1, 1])
    assert ranks_of_right(scores, right, counts).tolist() == [2, 6, 8]
    assert ranks_of_right(scores, right, counts.repeat(3, 1)).tolist() == [2, 6, 8]


def test_what_is_no_candidate_is_missed() -> None:
    ranks = ranks_of_right(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool))
    assert ranks.tolist() == [MISSED]
    recalls = Recalls()
    recalls.update("TR", ranks)
    assert recalls.compute()["TR@10"].value == 0


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranks_of_right(torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]]))


def test_recalls_count_both_directions_apart() -> None:
    recalls = Recalls()
    recalls.update("TR", torch.tensor([0, 1, 4, 5]))
    recalls.update("TR", torch.tensor([9]))
    recalls.update("IR", torch.tensor([10, 0]))
    estimates = recalls.compute()
    values = {name: (estimate.value, estimate.n) for name, estimate in estimates.items()}
    mean = pytest.approx((0.2 + 0.6 + 1.0 + 3 * 0.5) / 6)
    assert values.pop("R@mean") == (mean, 7)
    assert values == {
        "TR@1": (0.2, 5),
        "TR@5": (0.6, 5),
        "TR@10": (1.0, 5),
        "IR@1": (0.5, 2),
        "IR@5": (0.5, 2),
        "IR@10": (0.5, 2),
    }
    assert 0 < estimates["TR@1"].low < 0.2 < estimates["TR@1"].high


def test_chance_is_what_random_orders_come_to() -> None:
    texts_of_images = [1, 5, 2]
    orders = 4000
    generator = torch.Generator().manual_seed(0)
    owners = torch.repeat_interleave(torch.arange(3), torch.tensor(texts_of_images))
    right = torch.arange(3)[:, None] == owners
    drawn = Recalls()
    scores = torch.rand(orders * 3, 8, generator=generator)
    drawn.update("TR", ranks_of_right(scores, right.repeat(orders, 1)))
    scores = torch.rand(orders * 8, 3, generator=generator)
    drawn.update("IR", ranks_of_right(scores, right.t().repeat(orders, 1)))
    expected = ChanceRecalls()
    expected.update(texts_of_images)
    computed = expected.compute()
    assert computed.keys() == drawn.compute().keys()
    for name, estimate in drawn.compute().items():
        assert computed[name].value == pytest.approx(estimate.value, abs=0.01)
        assert orders * computed[name].n == estimate.n
    assert chance(candidates=3, right=1, first=5) == 1
