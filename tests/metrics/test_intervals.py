import math

import numpy as np
import pytest
import scipy.stats

from metrics.intervals import mean_estimate, mean_interval, rate_estimate, wilson


@pytest.mark.parametrize(
    ("hits", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 10), (1, 1000), (11473, 14481)]
)
def test_wilson_is_scipys(hits, n):
    want = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((want.low, want.high), abs=1e-12)
    assert 0 <= wilson(hits, n)[0] <= wilson(hits, n)[1] <= 1


def test_mean_interval_is_scipys():
    values = np.random.default_rng(0).random(200)
    want = scipy.stats.norm.interval(0.95, values.mean(), scipy.stats.sem(values))
    assert mean_interval(values.sum(), (values**2).sum(), 200) == pytest.approx(want, abs=1e-12)
    assert mean_interval(5 * 0.1, 5 * 0.1**2, 5) == pytest.approx((0.1, 0.1), abs=1e-8)


def test_nothing_gives_nan():
    for estimate in (rate_estimate(0, 0), mean_estimate(0.0, 0.0, 0)):
        assert estimate.n == 0
        assert all(map(math.isnan, (estimate.value, estimate.low, estimate.high)))
    assert all(map(math.isnan, mean_interval(0.5, 0.25, 1)))


def test_a_mean_of_shares_has_an_interval_of_shares():
    estimate = mean_estimate(1.0, 1.0, 3)
    assert (estimate.low, estimate.n) == (0.0, 3)
    assert estimate.high == pytest.approx(mean_interval(1.0, 1.0, 3)[1])
    assert mean_estimate(2.9, 2.81, 3).high == 1.0
