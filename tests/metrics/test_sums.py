import pickle
from fractions import Fraction

import pytest
import torch

from metrics.intervals import wilson
from metrics.sums import Mean, Rate


def test_rate_counts_resets_and_pickles():
    rate = Rate()
    rate.update(torch.tensor([True, False]))
    rate.update(torch.tensor([True]))
    rate = pickle.loads(pickle.dumps(rate))
    estimate = rate.compute()
    assert (estimate.value, estimate.n) == (2 / 3, 3)
    assert (estimate.low, estimate.high) == wilson(2, 3)
    assert rate.hits.dtype == torch.long
    rate.reset()
    assert int(rate.total) == 0


def test_mean_does_not_depend_on_the_order_and_is_right():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(500, generator=generator, dtype=torch.float64)
    orders = (torch.arange(500), torch.arange(500).flip(0), torch.randperm(500, generator=generator))
    results = []
    for order, size in zip(orders, (500, 7, 7), strict=True):
        mean = Mean()
        for rows in order.split(size):
            mean.update(values[rows])
        results.append(pickle.loads(pickle.dumps(mean)).compute())
    assert results[0] == results[1] == results[2]
    exact = sum(map(Fraction, values.tolist())) / 500
    assert results[0].value == pytest.approx(float(exact), abs=2**-32)
    half_width = 1.959964 * values.std().item() / 500**0.5
    assert results[0].high - results[0].value == pytest.approx(half_width, rel=1e-5)


def test_ten_million_samples_fit():
    mean = Mean()
    mean.update(torch.ones(1, dtype=torch.float64))
    for name in ("total", "squares", "count"):
        setattr(mean, name, getattr(mean, name) * 10**7)
    assert mean.compute().value == 1
