"""Box accuracy: how often, and how well, the predicted box overlaps the true one."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.boxes import iou
from metrics.intervals import Estimate, mean_estimate, rate_estimate

# IoUs are summed as integers of 2^-32, since a sum of floats would depend on the order and so on the number
# of processes. A sum holds 2^31 queries.
_SCALE = 1 << 32


def best_iou(predicted: Tensor, targets: Tensor) -> Tensor:
    """(q,4) and (q,K,4) with NaN rows for none -> (q,): IoU with the best fitting target; 0 for a NaN
    prediction.
    """
    return iou(predicted[:, None], targets).amax(-1)


class BoxAccuracy(Metric):
    """Rate of queries with IoU of at least ``threshold``, and the mean IoU.

    Keeps four integer sums, so that any split of the queries over batches and processes gives the same
    digits.

    Args:
        threshold: WWbL's code counts an IoU of exactly 0.5 as correct, where its paper says "over 0.5".
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor
    iou_sum: Tensor
    iou_square_sum: Tensor

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        for name in ("hits", "total", "iou_sum", "iou_square_sum"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, targets: Tensor) -> None:
        """``predicted`` (q,4), NaN for none, and ``targets`` (q,K,4) with NaN rows, in any one unit."""
        ious = best_iou(predicted, targets).double()
        sums = torch.stack(((ious >= self.threshold).sum(), _fixed(ious), _fixed(ious * ious))).to(
            self.hits.device
        )
        self.hits += sums[0]
        self.iou_sum += sums[1]
        self.iou_square_sum += sums[2]
        self.total += len(predicted)

    def compute(self) -> dict[str, Estimate]:
        """``box_accuracy`` with its Wilson interval, ``mean_iou`` with its normal interval."""
        n = int(self.total)
        return {
            "box_accuracy": rate_estimate(int(self.hits), n),
            "mean_iou": mean_estimate(int(self.iou_sum) / _SCALE, int(self.iou_square_sum) / _SCALE, n),
        }


def _fixed(values: Tensor) -> Tensor:
    return (values * _SCALE).round().long().sum()
