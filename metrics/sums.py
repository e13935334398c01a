"""Rates and means that do not depend on how the samples are split over batches and processes: they keep
integer sums only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, mean_estimate, rate_estimate

SCALE = 1 << 32
"""Values in [0, 1] are summed as integers of 2^-32: a sum of floats would depend on the order of the samples.
An int64 holds the sum of 2^31 of them."""


def fixed_point(values: Tensor) -> Tensor:
    """Float64 values in [0, 1] as int64 multiples of 2^-32, of the same shape.

    Example:
        >>> fixed_point(torch.tensor([0.5, 1.0], dtype=torch.float64)).tolist()
        [2147483648, 4294967296]
    """
    return (values * SCALE).round().long()


class Rate(Metric):
    """The share of samples of which something is true.

    Example:
        >>> rate = Rate()
        >>> rate.update(torch.tensor([True, False, True, True]))
        >>> rate.compute().value
        0.75
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("hits", "total"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, hits: Tensor) -> None:
        """Adds (n,) bool."""
        self.hits += hits.sum().to(self.hits.device)
        self.total += len(hits)

    def compute(self) -> Estimate:
        """The share over all processes, with its Wilson interval."""
        return rate_estimate(int(self.hits), int(self.total))


class Mean(Metric):
    """The mean of values in [0, 1].

    Example:
        >>> mean = Mean()
        >>> mean.update(torch.tensor([0.25, 0.75], dtype=torch.float64))
        >>> mean.compute().value
        0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "squares", "count"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Adds (n,) float64."""
        self.total += fixed_point(values).sum().to(self.total.device)
        self.squares += fixed_point(values * values).sum().to(self.squares.device)
        self.count += len(values)

    def compute(self) -> Estimate:
        """The mean over all processes, with its normal interval."""
        return mean_estimate(int(self.total) / SCALE, int(self.squares) / SCALE, int(self.count))
