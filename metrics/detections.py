"""The parts of a heat map as detections: which true box each of them finds, and their average precision.

Boxes are xyxy in pixels, the maximum exclusive; n detections and K true boxes of one query.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_iou  # type: ignore[import-untyped]

from metrics.intervals import Estimate

# Steps into which scores are rounded, so that counts are all that average precision needs.
_SCORE_STEPS = 1024


def components(heat: np.ndarray, mask: np.ndarray, min_area: int = 1) -> np.ndarray:
    """The 8-connected parts of a mask.

    Args:
        heat: (h,w) float, the map.
        mask: (h,w) bool, where the map is above its threshold.
        min_area: pixels of the smallest part that counts.

    Returns:
        (n,5) float64: box of each part and the mean of the map inside it; the highest mean first.

    Example:
        >>> heat = np.array([[0.9, 0.9, 0.0, 0.0], [0.0, 0.0, 0.0, 0.6]])
        >>> components(heat, heat > 0.5).tolist()
        [[0.0, 0.0, 2.0, 1.0, 0.9], [3.0, 1.0, 4.0, 2.0, 0.6]]
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats.T
    sums = np.bincount(labels.ravel(), heat.ravel().astype(np.float64), count)
    means = sums / area.clip(1)
    parts = np.stack((x, y, x + width, y + height, means), 1)
    large = parts[1:][area[1:] >= min_area]  # the first component is the background
    return large[np.argsort(-large[:, 4], kind="stable")]


def largest_box(parts: Tensor) -> Tensor:
    """The box of the largest component, by the area of its box times its mean.

    Args:
        parts: (n,5), see :func:`components`.

    Returns:
        (4,); NaN if there is no component.
    """
    if not len(parts):
        return parts.new_full((4,), torch.nan)
    return parts[((parts[:, 2:4] - parts[:, :2]).prod(1) * parts[:, 4]).argmax(), :4]


def matched_boxes(predicted: Tensor, targets: Tensor) -> Tensor:
    """A prediction of its own for each target, pairs being taken greedily from the highest IoU.

    Args:
        predicted: (n,4).
        targets: (K,4).

    Returns:
        (K,4) float64; NaN for a target that is left over.
    """
    ious = box_iou(predicted.double(), targets.double())
    matched = torch.full((len(targets), 4), torch.nan, dtype=torch.float64)
    while ious.numel() and ious.max() > 0:
        row, column = divmod(int(ious.argmax()), len(targets))
        matched[column] = predicted[row].double()
        ious[row, :] = 0
        ious[:, column] = 0
    return matched


def hits_of_detections(predicted: Tensor, targets: Tensor, threshold: float) -> Tensor:
    """Whether each detection finds a target. A target is found once, by the best detection that overlaps it
    enough.

    Args:
        predicted: (n,4), the best first.
        targets: (K,4).
        threshold: the least IoU.

    Returns:
        (n,) bool.

    Example:
        >>> detections = torch.tensor([[0.0, 0.0, 4.0, 3.0], [0.0, 0.0, 4.0, 4.0]])
        >>> hits_of_detections(detections, torch.tensor([[0.0, 0.0, 4.0, 4.0]]), 0.5).tolist()
        [True, False]
    """
    hits = torch.zeros(len(predicted), dtype=torch.bool)
    if not len(targets):
        return hits
    ious = box_iou(predicted.double(), targets.double())
    for row in range(len(predicted)):
        column = int(ious[row].argmax())
        if ious[row, column] >= threshold:
            hits[row] = True
            ious[:, column] = -1
    return hits


def average_precision(right: Tensor, wrong: Tensor, targets: int) -> float:
    """Area under the interpolated precision-recall curve, every point of it.

    Args:
        right, wrong: (S,) counts of detections by score, ascending.
        targets: number of boxes that were to be found.

    Returns:
        A value in [0, 1].

    Example:
        The best detection is right, the next wrong, the last right, of two boxes: 1/2 * 1 + 1/2 * 2/3.

        >>> right = torch.tensor([1, 0, 1])
        >>> wrong = torch.tensor([0, 1, 0])
        >>> round(average_precision(right, wrong, targets=2), 6)
        0.833333
    """
    right = right.flip(0).cumsum(0).double()
    wrong = wrong.flip(0).cumsum(0).double()
    precision = torch.where(right + wrong > 0, right / (right + wrong).clamp(min=1), 0.0)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    steps = torch.diff(right, prepend=right.new_zeros(1))
    return float((envelope * steps).sum() / targets)


class DetectionPrecision(Metric):
    """Mean over the classes of the average precision at one IoU, from integer counts. It comes without an
    interval.

    Args:
        classes: names of the classes; detections of others are not counted.
        threshold: IoU from which a detection is right.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    wrong: Tensor
    targets: Tensor

    def __init__(self, classes: Sequence[str], threshold: float) -> None:
        super().__init__()
        self.index_of_class = {name: index for index, name in enumerate(classes)}
        self.threshold = threshold
        for name in ("right", "wrong"):
            zeros = torch.zeros(len(classes), _SCORE_STEPS, dtype=torch.long)
            self.add_state(name, zeros, dist_reduce_fx="sum")
        self.add_state("targets", torch.zeros(len(classes), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, name: str, detections: Tensor, targets: Tensor) -> None:
        """Adds a query.

        Args:
            name: its class.
            detections: (n,5), box and score in [0, 1], the best first.
            targets: (K,4).
        """
        if name not in self.index_of_class:
            return
        index = self.index_of_class[name]
        self.targets[index] += len(targets)
        hits = hits_of_detections(detections[:, :4], targets, self.threshold)
        steps = (detections[:, 4].clamp(0, 1) * (_SCORE_STEPS - 1)).round().long()
        self.right[index] += steps[hits].bincount(minlength=_SCORE_STEPS).to(self.right.device)
        self.wrong[index] += steps[~hits].bincount(minlength=_SCORE_STEPS).to(self.wrong.device)

    def compute(self) -> Estimate:
        """The mean over all processes, and the number of boxes that were to be found."""
        values = [
            average_precision(self.right[index], self.wrong[index], int(self.targets[index]))
            for index in self.targets.nonzero()[:, 0].tolist()
        ]
        mean = sum(values) / len(values) if values else torch.nan
        return Estimate(mean, low=torch.nan, high=torch.nan, n=int(self.targets.sum()))
