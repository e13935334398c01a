"""Attention maps judged as they are: the box of a map against the boxes of all instances, detection, masks,
and maps that should be blank.

Facts of "Weakly Supervised Attention Learning for Textual Phrases Grounding", which says that maps are
evaluated without post-processing, and not how they become boxes. Boxes are xyxy in pixels, the maximum
exclusive; Q queries, K boxes of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric
from torchvision.ops import box_iou  # type: ignore[import-untyped]

from metrics.box_accuracy import BoxAccuracy
from metrics.boxes import check_boxes
from metrics.intervals import Estimate, mean_estimate, rate_estimate

SCORES = 1024  # steps into which detection scores are rounded, so that average precision needs counts only


@dataclass(frozen=True)
class MapRules:
    """How a map becomes boxes.

    Args:
        name: written beside every number.
        threshold: a pixel is part of the map from this share of its largest value on ("greater than").
        blank: a map whose largest value is below this is blank: it has no box.
        min_area: pixels of the smallest component that counts as a detection.
        box: of a query with one box, the box of the ``whole`` map above its threshold, or that of its
            ``largest`` component, by the area of the box times the mean of the map inside.
    """

    name: str = "map"
    threshold: float = 0.5
    blank: float = 0.1
    min_area: int = 4
    box: Literal["whole", "largest"] = "whole"


def map_masks(maps: Tensor, rules: MapRules) -> Tensor:
    """(Q,h,w) -> (Q,h,w) bool: where a map is above its threshold; nowhere if it is blank."""
    top = maps.amax((1, 2), keepdim=True)
    return (maps > rules.threshold * top) & (top >= rules.blank)


def tight_boxes(masks: Tensor) -> Tensor:
    """(Q,h,w) bool -> (Q,4) float64: the smallest box around each mask; NaN around nothing."""
    columns, rows = masks.any(1), masks.any(2)
    boxes = torch.full((len(masks), 4), torch.nan, dtype=torch.float64, device=masks.device)
    for side, along in enumerate((columns, rows)):
        found, length = along.any(1), along.shape[1]
        boxes[found, side] = along[found].int().argmax(1).double()
        boxes[found, side + 2] = length - along[found].flip(1).int().argmax(1).double()
    return boxes


def components(heat: np.ndarray, mask: np.ndarray, min_area: int = 1) -> np.ndarray:
    """The 8-connected parts of a mask: (h,w) float and bool -> (n,5) float64, box and the mean of the map
    inside; the best first.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    means = np.bincount(labels.ravel(), heat.ravel().astype(np.float64), count) / stats[
        :, cv2.CC_STAT_AREA
    ].clip(1)
    x, y, width, height, area = stats.T
    found = np.stack((x, y, x + width, y + height, means), 1)[1:][area[1:] >= min_area]
    return found[np.argsort(-found[:, 4], kind="stable")]


def largest_box(parts: Tensor) -> Tensor:
    """Of (n,5) components that with the largest area of box times mean: (4,), NaN if there is none."""
    if not len(parts):
        return parts.new_full((4,), torch.nan)
    return parts[((parts[:, 2:4] - parts[:, :2]).prod(1) * parts[:, 4]).argmax(), :4]


def matched_boxes(predicted: Tensor, targets: Tensor) -> Tensor:
    """(n,4), (K,4) -> (K,4): for each target a prediction of its own, pairs taken greedily from the highest
    IoU; NaN for a target that is left over.
    """
    ious, matched = (
        box_iou(predicted.double(), targets.double()),
        torch.full((len(targets), 4), torch.nan, dtype=torch.float64),
    )
    while ious.numel() and ious.max() > 0:
        row, column = divmod(int(ious.argmax()), len(targets))
        matched[column] = predicted[row].double()
        ious[row, :] = ious[:, column] = 0
    return matched


def hits_of_detections(predicted: Tensor, targets: Tensor, threshold: float) -> Tensor:
    """Whether each detection finds a target: (n,4) best first, (K,4) -> (n,) bool. A target is found once, by
    the best detection of at least that IoU.
    """
    ious, hits = box_iou(predicted.double(), targets.double()), torch.zeros(len(predicted), dtype=torch.bool)
    for row in range(len(predicted) if len(targets) else 0):
        column = int(ious[row].argmax())
        if ious[row, column] >= threshold:
            hits[row] = True
            ious[:, column] = -1
    return hits


def average_precision(right: Tensor, wrong: Tensor, targets: int) -> float:
    """Area under the interpolated precision-recall curve, every point of it, from counts of detections by
    score: (S,), (S,) ascending, -> [0,1].
    """
    right, wrong = right.flip(0).cumsum(0).double(), wrong.flip(0).cumsum(0).double()
    precision = torch.where(right + wrong > 0, right / (right + wrong).clamp(min=1), 0.0)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    steps = torch.diff(right, prepend=right.new_zeros(1))
    return float((envelope * steps).sum() / targets)


class DetectionPrecision(Metric):
    """Mean over the classes of the average precision at one IoU, from integer counts; its interval is not
    known.

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
        self.class_of = {name: index for index, name in enumerate(classes)}
        self.threshold = threshold
        for name in ("right", "wrong"):
            self.add_state(name, torch.zeros(len(classes), SCORES, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("targets", torch.zeros(len(classes), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, name: str, detections: Tensor, targets: Tensor) -> None:
        """One query: its class, (n,5) detections with scores in [0,1], best first, and (K,4) boxes."""
        if name not in self.class_of:
            return
        index = self.class_of[name]
        self.targets[index] += len(targets)
        hits = hits_of_detections(detections[:, :4], targets, self.threshold)
        scores = (detections[:, 4].clamp(0, 1) * (SCORES - 1)).round().long()
        for state, chosen in ((self.right, scores[hits]), (self.wrong, scores[~hits])):
            state[index] += chosen.bincount(minlength=SCORES).to(state.device)

    def compute(self) -> Estimate:
        """The mean, and the number of boxes that were to be found."""
        asked = self.targets.nonzero()[:, 0].tolist()
        values = [
            average_precision(self.right[index], self.wrong[index], int(self.targets[index]))
            for index in asked
        ]
        return Estimate(
            sum(values) / len(values) if values else torch.nan, torch.nan, torch.nan, int(self.targets.sum())
        )


class AttentionMapScore(WrapperMetric):
    """All numbers of one set. Integer sums only, so that any split over batches and processes gives the same
    digits.

    ``average_iou`` and ``accuracy_30``, ``_40``, ``_50`` are over boxes: the one of a query with the box that
    the rules name, the several of a query with the map's connected components, each matched to its own.
    ``map_30`` and so on are the mean average precision of the components as detections, over the queries that
    have boxes. ``mask_iou`` compares the map above its threshold with the area of the boxes. ``blank_absent``
    is the share of queries without a box whose map is blank.

    Args:
        rules: how a map becomes boxes.
        classes: the phrases over which average precision is averaged.
        thresholds: the IoUs from which a box is right.
    """

    accuracies: Any
    precisions: Any

    def __init__(
        self, rules: MapRules, classes: Sequence[str], thresholds: Sequence[float] = (0.3, 0.4, 0.5)
    ) -> None:
        super().__init__()
        self.rules = rules
        self.accuracies = torch.nn.ModuleDict(
            {_suffix(threshold): BoxAccuracy(threshold) for threshold in thresholds}
        )
        self.precisions = torch.nn.ModuleDict(
            {_suffix(threshold): DetectionPrecision(classes, threshold) for threshold in thresholds}
        )
        self.mask_ious = Average()
        self.blank_maps = Share()

    def update(
        self,
        maps: Tensor,
        phrases: Sequence[str],
        boxes: Sequence[Tensor],
        sizes: Tensor,
        keys: Sequence[str] | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            maps: (Q,h,w) in [0,1], stretched here to the size of each image (bilinear).
            phrases: Q names of classes.
            boxes: Q tensors (K,4); K is 0 where the class is not in the image.
            sizes: (Q,2) height and width of each query's image.
            keys: Q names for error messages.

        Raises:
            ValueError: a box that is inverted or not finite, or maps that are not (Q,h,w).
        """
        check_boxes(boxes, keys)
        if maps.ndim != 3 or len(maps) != len(boxes):
            raise ValueError(
                f"maps have shape {tuple(maps.shape)} and not (Q, h, w) for Q = {len(boxes)} queries."
            )
        groups, group_of_query = (
            sizes.cpu().unique(dim=0, return_inverse=True) if len(boxes) else (sizes, sizes)
        )
        for group, (height, width) in enumerate(groups.tolist()):
            rows = (group_of_query == group).nonzero()[:, 0].tolist()
            full = interpolate(
                maps[rows][:, None].float(), size=(height, width), mode="bilinear", align_corners=False
            )[:, 0]
            self._update_sized(
                full,
                [phrases[row] for row in rows],
                [boxes[row].cpu().double().reshape(-1, 4) for row in rows],
            )

    def _update_sized(self, maps: Tensor, phrases: Sequence[str], boxes: Sequence[Tensor]) -> None:
        masks = map_masks(maps, self.rules)
        whole, heats, arrays = tight_boxes(masks).cpu(), maps.cpu().numpy(), masks.cpu().numpy()
        self.blank_maps.update(whole[[not len(found) for found in boxes]].isnan().any(1))
        nothing = torch.zeros(0, 4, dtype=torch.float64)
        matched, targets, mask_ious = [nothing], [nothing], []
        for heat, mask, box, phrase, truth in zip(heats, arrays, whole, phrases, boxes, strict=True):
            if not len(truth):
                continue
            found = torch.from_numpy(components(heat, mask, self.rules.min_area))
            for precision in self.precisions.values():
                precision.update(phrase, found, truth)
            one = box if self.rules.box == "whole" else largest_box(found)
            matched.append(one[None] if len(truth) == 1 else matched_boxes(found[:, :4], truth))
            targets.append(truth)
            mask_ious.append(mask_iou(mask, truth.numpy()))
        for accuracy in self.accuracies.values():
            accuracy.update(torch.cat(matched), torch.cat(targets)[:, None])
        self.mask_ious.update(torch.tensor(mask_ious, dtype=torch.float64))

    def compute(self) -> dict[str, Estimate]:
        """See the class; without queries the values are nan and n is 0."""
        accuracies = {suffix: accuracy.compute() for suffix, accuracy in self.accuracies.items()}
        return {
            "average_iou": next(iter(accuracies.values()))["mean_iou"],
            **{f"accuracy_{suffix}": found["box_accuracy"] for suffix, found in accuracies.items()},
            **{f"map_{suffix}": precision.compute() for suffix, precision in self.precisions.items()},
            "mask_iou": self.mask_ious.compute(),
            "blank_absent": self.blank_maps.compute(),
        }

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        for part in (*self.accuracies.values(), *self.precisions.values(), self.mask_ious, self.blank_maps):
            part.reset()


class Average(Metric):
    """The mean of values in [0,1], summed as integers of 2^-32, so that no order of the samples changes a
    digit.
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
        """(n,) float64."""
        fixed = (
            (torch.stack((values, values.square())) * (1 << 32)).round().long().sum(1).to(self.total.device)
        )
        self.total += fixed[0]
        self.squares += fixed[1]
        self.count += len(values)

    def compute(self) -> Estimate:
        """The mean with its normal interval."""
        return mean_estimate(int(self.total) / (1 << 32), int(self.squares) / (1 << 32), int(self.count))


class Share(Metric):
    """How many of the given are true; two integer sums."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("hits", "total"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, given: Tensor) -> None:
        """(n,) bool."""
        self.hits += given.sum().to(self.hits.device)
        self.total += len(given)

    def compute(self) -> Estimate:
        """The share with its Wilson interval."""
        return rate_estimate(int(self.hits), int(self.total))


def mask_iou(mask: np.ndarray, boxes: np.ndarray) -> float:
    """IoU of a mask with the area that boxes cover together: (h,w) bool, (K,4) -> [0,1]. A pixel belongs to a
    box if its centre does.
    """
    area = np.zeros(mask.shape, bool)
    for x0, y0, x1, y1 in np.rint(boxes).astype(int):
        area[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    union = (mask | area).sum()
    return float((mask & area).sum() / union) if union else 0.0


def _suffix(threshold: float) -> str:
    return f"{100 * threshold:.0f}"
