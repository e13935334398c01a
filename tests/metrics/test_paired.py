"""The paired bootstrap, against scipy's and against what theory says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from metrics.paired import paired_difference


def test_one_query_an_image_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    first = rng.random(300)
    second = first + rng.normal(0.05, 0.2, 300)
    ours = paired_difference(first, second, np.arange(300), resamples=5000)
    theirs = bootstrap((second - first,), np.mean, method="percentile", n_resamples=5000, rng=1)
    assert ours.value == pytest.approx((second - first).mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=2e-3)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=2e-3)
    assert ours.naive_low == pytest.approx(ours.low, abs=3e-3)


def test_queries_that_share_an_image_widen_the_interval() -> None:
    """Ten equal queries of each image are one observation: the interval is wider by the root of ten."""
    rng = np.random.default_rng(4)
    first = np.zeros(2000)
    second = np.repeat(rng.normal(0, 1, 200), 10)
    paired = paired_difference(first, second, np.repeat(np.arange(200), 10))
    ratio = (paired.high - paired.low) / (paired.naive_high - paired.naive_low)
    assert ratio == pytest.approx(10**0.5, rel=0.05)
    assert (paired.queries, paired.images) == (2000, 200)


def test_equal_models_do_not_differ() -> None:
    hits = np.array([True, False, True])
    paired = paired_difference(hits, hits, np.array(["a", "a", "b"]))
    assert (paired.value, paired.low, paired.high) == (0, 0, 0)


def test_no_queries() -> None:
    assert np.isnan(paired_difference(np.zeros(0), np.zeros(0), np.zeros(0)).value)


def test_queries_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="2 and 3"):
        paired_difference(np.zeros(2), np.zeros(3), np.zeros(2))
