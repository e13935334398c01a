"""Phrase grounding judged by one protocol: heat maps in, pointing game and box accuracy out.

Shapes: N images, Q queries of a batch, U decisions (mentions or chains that the protocol asks), K boxes of
    one query at most, h x w the model's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.wrappers.abstract import WrapperMetric

from metrics.box_accuracy import BoxAccuracy, best_iou
from metrics.boxes import area, boxes_from_heatmaps, check_boxes, pad_boxes, union_box
from metrics.intervals import Estimate
from metrics.pointing_game import PointingGame, peak_points, points_in_boxes
from metrics.protocols import Protocol, PublishedBoxes, evaluated_boxes, protocol


@dataclass
class Decisions:
    """What was decided, one row a decision, on the CPU; pixels of the original image.

    Attributes:
        queries: (U,) long, the query of the batch; for a chain its first mention.
        points: (U,2) long, y and x.
        hits: (U,) bool, whether the point counts.
        boxes: (U,4) float64, the predicted box, xyxy; NaN where the map has none.
        ious: (U,) float64, overlap with what the protocol compares with.
    """

    queries: Tensor
    points: Tensor
    hits: Tensor
    boxes: Tensor
    ious: Tensor


class GroundingScore(WrapperMetric):
    """Pointing game and box accuracy of one protocol; integer sums only, added over processes on ``compute``.

    Args:
        rules: a protocol or the name of a preset.
        published: how the data set publishes its boxes: ``corners`` (Flickr30k Entities) or ``xywh`` (Visual
            Genome, ReferIt, RefCOCO); it matters to the protocols that repeat a reference code, see
            :func:`metrics.protocols.evaluated_boxes`.
        threshold: IoU from which a box is correct.
    """

    def __init__(
        self, rules: Protocol | str = "clean", published: PublishedBoxes = "corners", threshold: float = 0.5
    ) -> None:
        super().__init__()
        self.rules = protocol(rules)
        self.published = published
        self.pointing_game = PointingGame(self.rules.inside)
        self.box_accuracy = BoxAccuracy(threshold)

    def update(  # type: ignore[override]  # returns the decisions, which torchmetrics' own update would swallow
        self,
        heatmaps: Tensor,
        boxes: Sequence[Tensor],
        image_of_query: Tensor,
        chain_of_query: Tensor,
        sizes: Tensor,
        keys: Sequence[str] | None = None,
    ) -> Decisions:
        """Adds a batch; see :class:`datamodules.batches.GroundingBatch` for the fields. All mentions of a
        chain must be in one batch.

        Queries without a box are not asked. An empty batch is welcome.

        Args:
            heatmaps: (Q,h,w), any float type, any device; larger where the phrase is.
            boxes: Q tensors (K,4).
            image_of_query: (Q,) into the N images.
            chain_of_query: (Q,) numbers, equal for mentions of one thing; unique within the batch.
            sizes: (N,2) height and width of the original images.
            keys: Q names for error messages.

        Returns:
            The decisions, for pictures and per-query records.

        Raises:
            ValueError: heat maps that are not (Q,h,w) or not finite, a box that is inverted or not finite.
        """
        _check_heatmaps(heatmaps, len(boxes), keys)
        check_boxes(boxes, keys)
        rules = self.rules
        image_of_query, sizes = image_of_query.cpu().long(), sizes.cpu()
        unit_of_query, first = _units(chain_of_query.cpu(), rules)
        size = sizes[image_of_query[first]]
        truth = evaluated_boxes(pad_boxes(boxes)[first], size, rules, self.published)
        asked = _asked(truth, size, rules)
        first, size, truth = first[asked], size[asked], truth[asked]
        maps = _average(heatmaps, unit_of_query, asked).to(getattr(torch, rules.precision))
        squares = {side: _square(maps, side) for side in {rules.point_size, rules.box_size}}

        pointed = union_box(truth)[:, None] if rules.point_boxes == "union" else truth
        points = _points(squares[rules.point_size], size, rules)
        self.pointing_game.update(points, pointed)

        # Overlaps are taken in fractions of the image, as the reference code does; it decides an IoU of
        # exactly one half.
        scale = size.flip(-1).repeat(1, 2).double()
        compared = truth / scale[:, None]
        compared = union_box(compared)[:, None] if rules.gt_box == "union" else compared
        predicted = _predicted_boxes(squares[rules.box_size], rules)
        self.box_accuracy.update(predicted, compared)
        hits = points_in_boxes(points, pointed, rules.inside)
        return Decisions(first, points, hits, predicted * scale, best_iou(predicted, compared))

    def compute(self) -> dict[str, Estimate]:
        """``pointing_game``, ``box_accuracy`` and ``mean_iou``, over all processes; without queries the
        values are nan and n is 0.
        """
        return {"pointing_game": self.pointing_game.compute(), **self.box_accuracy.compute()}

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        self.pointing_game.reset()
        self.box_accuracy.reset()


def _check_heatmaps(heatmaps: Tensor, queries: int, keys: Sequence[str] | None) -> None:
    if heatmaps.ndim != 3 or len(heatmaps) != queries:
        raise ValueError(
            f"heat maps have shape {tuple(heatmaps.shape)} and not (Q, h, w) for Q = {queries} queries."
        )
    finite = heatmaps.isfinite().flatten(1).all(1)
    if not finite.all():
        index = int((~finite).nonzero()[0])
        raise ValueError(
            f"the heat map of query {repr(keys[index]) if keys else index} holds NaN or infinite values."
        )


def _units(chain_of_query: Tensor, rules: Protocol) -> tuple[Tensor, Tensor]:
    """The decision of each query (Q,), and each decision's first query (U,)."""
    every = torch.arange(len(chain_of_query))
    if rules.query_unit == "phrase":
        return every, every
    chains, unit_of_query = chain_of_query.unique(return_inverse=True)
    first = torch.full_like(chains, len(every)).scatter_reduce(0, unit_of_query, every.to(chains), "amin")
    return unit_of_query, first


def _asked(truth: Tensor, size: Tensor, rules: Protocol) -> Tensor:
    """Which decisions the protocol asks for: (U,K,4), (U,2) -> (U,) bool."""
    present = ~truth.isnan().any(-1)
    if rules.min_area == 0:
        return present.any(1)
    least = rules.min_area * size[:, 1].double() * size[:, 0]
    if rules.area_rule == "each":
        return present.any(1) & ((area(truth) > least[:, None]) | ~present).all(1)
    return area(truth[:, 0] if rules.area_rule == "first" else union_box(truth)) > least


def _average(heatmaps: Tensor, unit_of_query: Tensor, asked: Tensor) -> Tensor:
    """Mean map of each decision that is asked, in the order of decisions: (Q,h,w) -> (U,h,w), at least
    float32.
    """
    if heatmaps.device.type == "mps":  # has no float64
        heatmaps = heatmaps.cpu()
    queries = asked[unit_of_query].nonzero()[:, 0]
    queries = queries[unit_of_query[queries].argsort(stable=True)]
    lengths = unit_of_query.bincount(minlength=len(asked))[asked]
    maps = heatmaps[queries.to(heatmaps.device)]
    maps = maps if maps.dtype == torch.float64 else maps.float()
    if len(lengths) == len(queries):
        return maps
    # Unlike an indexed addition, this adds in the same order on every device.
    return torch.segment_reduce(maps, "mean", lengths=lengths.to(maps.device), axis=0)


def _square(maps: Tensor, side: int | None) -> Tensor:
    if side is None or maps.shape[1:] == (side, side) or not len(maps):
        return maps
    return interpolate(maps[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def _points(maps: Tensor, size: Tensor, rules: Protocol) -> Tensor:
    """(U,2) on the CPU: one resize for all maps whose images have the same size."""
    points = torch.zeros(len(maps), 2, dtype=torch.long)
    groups, group_of_unit = size.unique(dim=0, return_inverse=True) if len(size) else (size, size[:, 0])
    for group, (height, width) in enumerate(groups.tolist()):
        rows = (group_of_unit == group).nonzero()[:, 0]
        points[rows] = peak_points(maps[rows.to(maps.device)], (height, width), rules.point_resize).cpu()
    return points


def _predicted_boxes(maps: Tensor, rules: Protocol) -> Tensor:
    """The union of the boxes in each map, as fractions of the map: (U,4) float64 on the CPU, NaN for none."""
    height, width = maps.shape[1:]
    found = [torch.from_numpy(boxes[:, :4]) for boxes in boxes_from_heatmaps(maps, rules.box_rule)]
    return union_box(pad_boxes(found)) / torch.tensor([width, height, width, height])
