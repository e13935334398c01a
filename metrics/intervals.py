"""95 % intervals for rates and means.

They take the queries as independent; queries that share an image are not quite, so the true intervals are
rather wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass
class Estimate:
    """A number with its 95 % interval. Without samples all three numbers are nan.

    Args:
        value: the number.
        low, high: ends of the interval; nan where it is not known.
        n: how many samples the number stands on.
    """

    value: float
    low: float
    high: float
    n: int


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of the rate ``hits / n`` (Wilson 1927); ``(nan, nan)`` if ``n`` is 0.

    It stays inside [0, 1] and does not collapse at 0 or n hits, as the normal interval would.

    Example:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    if n == 0:
        return math.nan, math.nan
    rate = hits / n
    weight = z * z / n
    centre = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate * (1 - rate) / n + weight / (4 * n))
    # At no hits and at n of them the bounds are exact; rounding would leave 1e-17.
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return low, high


def mean_interval(total: float, total_of_squares: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Normal interval of a mean, from the sum and the sum of squares of ``n`` values (variance with n - 1);
    ``(nan, nan)`` below two values.
    """
    if n < 2:
        return math.nan, math.nan
    variance = max(total_of_squares - total * total / n, 0.0) / (n - 1)
    half = z * math.sqrt(variance / n)
    return total / n - half, total / n + half


def rate_estimate(hits: int, n: int) -> Estimate:
    """The rate with its Wilson interval.

    Example:
        >>> rate_estimate(hits=3, n=4).value
        0.75
    """
    low, high = wilson(hits, n)
    return Estimate(hits / n if n else math.nan, low, high, n)


def mean_estimate(total: float, total_of_squares: float, n: int) -> Estimate:
    """The mean of values in [0, 1] with its normal interval, as far as that lies in [0, 1] (with few values
    it may not).

    Args:
        total: sum of the values.
        total_of_squares: sum of their squares.
        n: number of the values.

    Example:
        >>> mean_estimate(total=1.0, total_of_squares=0.5, n=2)
        Estimate(value=0.5, low=0.5, high=0.5, n=2)
    """
    low, high = mean_interval(total, total_of_squares, n)
    if n > 1:
        low = max(low, 0.0)
        high = min(high, 1.0)
    return Estimate(total / n if n else math.nan, low, high, n)
