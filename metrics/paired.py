"""Whether one model is better than another on the same queries: the paired bootstrap over images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrics.intervals import mean_interval

RESAMPLES_AT_ONCE = 1 << 22  # drawn images held in memory


@dataclass(frozen=True)
class PairedDifference:
    """The mean of the second less the mean of the first, over the same queries.

    Args:
        value: the difference.
        low, high: its 95 % interval by a bootstrap over images, whose queries are not independent.
        naive_low, naive_high: the interval that takes all queries as independent.
        queries: how many there are.
        images: how many they stand on.
    """

    value: float
    low: float
    high: float
    naive_low: float
    naive_high: float
    queries: int
    images: int


def paired_difference(
    first: np.ndarray, second: np.ndarray, images: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compares two models.

    Images are drawn with replacement, each with all of its queries (Efron and Tibshirani 1993, chapter 8).
    The interval reaches from the 2.5th to the 97.5th percentile of the differences.

    Args:
        first: (Q,) what one model has on each query, e.g. whether its point counts.
        second: (Q,) what the other has on the same queries.
        images: (Q,) the image of each query, as names or numbers.
        resamples: how often images are drawn.
        seed: of the draws.

    Raises:
        ValueError: the three are not of one length.

    Example:
        >>> hits = np.array([0, 0, 1, 1])
        >>> better = np.array([1, 0, 1, 1])
        >>> paired_difference(hits, better, np.array(["a", "a", "b", "b"])).value
        0.25
    """
    if not len(first) == len(second) == len(images):
        raise ValueError(f"{len(first)} and {len(second)} values on the queries of {len(images)} images")
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    queries = len(differences)
    if not queries:
        return PairedDifference(math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0)
    _, image_of_query = np.unique(images, return_inverse=True)
    totals = np.bincount(image_of_query, differences)
    counts = np.bincount(image_of_query)
    low, high = np.percentile(_resampled_means(totals, counts, resamples, seed), [2.5, 97.5])
    naive_low, naive_high = mean_interval(differences.sum(), (differences**2).sum(), queries)
    return PairedDifference(
        float(differences.mean()),
        float(low),
        float(high),
        float(naive_low),
        float(naive_high),
        queries,
        len(totals),
    )


def _resampled_means(totals: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The mean over the queries of each draw of images, of their sums and numbers of queries."""
    rng = np.random.default_rng(seed)
    images = len(totals)
    at_once = max(1, RESAMPLES_AT_ONCE // images)
    means = []
    for start in range(0, resamples, at_once):
        drawn = rng.integers(images, size=(min(at_once, resamples - start), images))
        means.append(totals[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(means)
