"""Attention maps judged as they are: the box of a map against the boxes of all instances, detection, masks,
and maps that should be blank.

"Weakly Supervised Attention Learning for Textual Phrases Grounding" says that maps are evaluated without
post-processing, and not how they become boxes. Boxes are xyxy in pixels, the maximum exclusive; Q queries, K
boxes of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.wrappers.abstract import WrapperMetric

from metrics.boxes import best_iou, check_boxes
from metrics.detections import DetectionPrecision, components, largest_box, matched_boxes
from metrics.intervals import Estimate
from metrics.sums import Mean, Rate


@dataclass(frozen=True)
class MapRules:
    """How a map becomes boxes.

    Args:
        name: written beside every number.
        threshold: a pixel belongs to the map if it is greater than this share of the map's largest value.
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
    """Where a map is above its threshold; nowhere if it is blank.

    Args:
        maps: (Q,h,w) in [0, 1].
        rules: threshold and blank are used.

    Returns:
        (Q,h,w) bool.

    Example:
        >>> map_masks(torch.tensor([[[0.2, 0.8, 0.3]]]), MapRules(threshold=0.25)).tolist()
        [[[False, True, True]]]
    """
    top = maps.amax((1, 2), keepdim=True)
    return (maps > rules.threshold * top) & (top >= rules.blank)


def tight_boxes(masks: Tensor) -> Tensor:
    """The smallest box around each mask.

    Args:
        masks: (Q,h,w) bool.

    Returns:
        (Q,4) float64; NaN around nothing.

    Example:
        >>> tight_boxes(torch.tensor([[[False, True, True], [False, False, True]]])).tolist()
        [[1.0, 0.0, 3.0, 2.0]]
    """
    boxes = torch.full((len(masks), 4), torch.nan, dtype=torch.float64, device=masks.device)
    for side, occupied in enumerate((masks.any(1), masks.any(2))):  # (Q,w) columns, (Q,h) rows
        rows = occupied.any(1)
        boxes[rows, side] = occupied[rows].int().argmax(1).double()
        boxes[rows, side + 2] = occupied.shape[1] - occupied[rows].flip(1).int().argmax(1).double()
    return boxes


def mask_iou(mask: np.ndarray, boxes: np.ndarray) -> float:
    """IoU of a mask with the area that boxes cover together. A pixel belongs to a box if its centre does.

    Args:
        mask: (h,w) bool.
        boxes: (K,4).

    Returns:
        A value in [0, 1]; 0 if both are empty.

    Example:
        >>> mask_iou(np.ones((2, 4), bool), np.array([[0.0, 0.0, 2.0, 2.0]]))
        0.5
    """
    area = np.zeros(mask.shape, bool)
    for x0, y0, x1, y1 in np.rint(boxes).astype(int):
        area[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    union = (mask | area).sum()
    return float((mask & area).sum() / union) if union else 0.0


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
        self.thresholds = {f"{100 * threshold:.0f}": threshold for threshold in thresholds}
        self.average_iou = Mean()
        self.accuracies = torch.nn.ModuleDict({name: Rate() for name in self.thresholds})
        self.precisions = torch.nn.ModuleDict(
            {name: DetectionPrecision(classes, threshold) for name, threshold in self.thresholds.items()}
        )
        self.mask_ious = Mean()
        self.blank_maps = Rate()

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
        if not len(boxes):
            return
        # One resize for all maps whose images have the same size.
        distinct_sizes, index_of_size = sizes.cpu().unique(dim=0, return_inverse=True)
        for index, (height, width) in enumerate(distinct_sizes.tolist()):
            rows = (index_of_size == index).nonzero()[:, 0].tolist()
            stretched = interpolate(
                maps[rows][:, None].float(), size=(height, width), mode="bilinear", align_corners=False
            )[:, 0]
            self._update_stretched(
                stretched,
                [phrases[row] for row in rows],
                [boxes[row].cpu().double().reshape(-1, 4) for row in rows],
            )

    def _update_stretched(self, maps: Tensor, phrases: Sequence[str], boxes: Sequence[Tensor]) -> None:
        """Adds queries whose images have one size, that of the maps; boxes are float64 on the CPU."""
        masks = map_masks(maps, self.rules)
        whole = tight_boxes(masks).cpu()
        absent = [not len(targets) for targets in boxes]
        self.blank_maps.update(whole[absent].isnan().any(1))

        no_box = torch.zeros(0, 4, dtype=torch.float64)
        matched = [no_box]
        matched_targets = [no_box]
        mask_ious = []
        rows = zip(maps.cpu().numpy(), masks.cpu().numpy(), whole, phrases, boxes, strict=True)
        for heat, mask, whole_box, phrase, targets in rows:
            if not len(targets):
                continue
            parts = torch.from_numpy(components(heat, mask, self.rules.min_area))
            for precision in self.precisions.values():
                precision.update(phrase, parts, targets)
            if len(targets) > 1:
                matched.append(matched_boxes(parts[:, :4], targets))
            elif self.rules.box == "whole":
                matched.append(whole_box[None])
            else:
                matched.append(largest_box(parts)[None])
            matched_targets.append(targets)
            mask_ious.append(mask_iou(mask, targets.numpy()))

        ious = best_iou(torch.cat(matched), torch.cat(matched_targets)[:, None])
        self.average_iou.update(ious)
        for name, threshold in self.thresholds.items():
            self.accuracies[name].update(ious >= threshold)
        self.mask_ious.update(torch.tensor(mask_ious, dtype=torch.float64))

    def compute(self) -> dict[str, Estimate]:
        """See the class; without queries the values are nan and n is 0."""
        return {
            "average_iou": self.average_iou.compute(),
            **{f"accuracy_{name}": accuracy.compute() for name, accuracy in self.accuracies.items()},
            **{f"map_{name}": precision.compute() for name, precision in self.precisions.items()},
            "mask_iou": self.mask_ious.compute(),
            "blank_absent": self.blank_maps.compute(),
        }

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        for part in (self.average_iou, self.mask_ious, self.blank_maps):
            part.reset()
        for part in (*self.accuracies.values(), *self.precisions.values()):
            part.reset()
