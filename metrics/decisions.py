"""From heat maps to decisions: the one place where a map becomes a point, a box and a verdict.

Scores add these decisions up, pictures draw them, and `predict` writes them, so that what is shown is what is
scored.

Shapes: N images, Q queries of a batch, U decisions (on mentions or on chains, as the protocol asks), K boxes
of one query at most, h x w the grid of the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from metrics.boxes import area, best_iou, boxes_from_heatmaps, check_boxes, pad_boxes, union_box
from metrics.pointing_game import peak_points, points_in_boxes
from metrics.protocols import Protocol, PublishedBoxes, evaluated_boxes


@dataclass(frozen=True)
class Queries:
    """What is asked of the maps of a batch.

    Args:
        sizes: (N,2) long, height and width of the original images, in pixels.
        image_of_query: (Q,) long, into the N images.
        chain_of_query: (Q,) long, equal for mentions of one thing; unique within the batch. All mentions of a
            chain must be in one batch.
        keys: Q names for error messages.
    """

    sizes: Tensor
    image_of_query: Tensor
    chain_of_query: Tensor
    keys: Sequence[str] | None = None


@dataclass(frozen=True)
class Truth:
    """Where the queries really are.

    Args:
        boxes: Q tensors (K,4), xyxy in pixels of the original image; K is 0 where nobody has said so.
        published: how the data set publishes its boxes: ``corners`` (Flickr30k Entities) or ``xywh`` (Visual
            Genome, ReferIt, RefCOCO); it matters to protocols that repeat a reference code, see
            :func:`metrics.protocols.evaluated_boxes`.
    """

    boxes: Sequence[Tensor]
    published: PublishedBoxes = "corners"


@dataclass(frozen=True)
class Decision:
    """What was decided on one query, in pixels of the original image.

    Attributes:
        point: x and y of the pixel that the model points at.
        box: the predicted box, xyxy; None if the map has none.
        score: in [0,1], how well the map fills its box, see `Decisions.scores`.
        heatmap: (h,w), what was decided on: the map of the query, or the average map of its chain.
        hit: whether the point counts; None if the protocol does not judge the query.
        iou: overlap of the box with what the protocol compares with; None if it does not judge the query.
    """

    point: tuple[int, int]
    box: tuple[float, float, float, float] | None
    score: float
    heatmap: Tensor
    hit: bool | None
    iou: float | None


@dataclass(frozen=True)
class Decisions:
    """What was decided on a batch, one row a decision, in pixels of the original images. On the CPU, but for
    the maps.

    Attributes:
        queries: (U,) long, the query of the batch; for a chain its first mention.
        row_of_query: (Q,) long, the decision on each query; -1 where none was asked for.
        sizes: (U,2) long, height and width of the original images.
        maps: (U,h,w) at least float32, what was decided on; for a chain the average of its mentions' maps.
        points: (U,2) long, y and x.
        boxes: (U,4) float64, the predicted box, xyxy; NaN where the map has none.
        scores: (U,) float64 in [0,1], the confidence of the best box in the map as `boxes_from_heatmaps`
            defines it: the mean of the map over that box, the map stretched to [0,1] and what is below the
            threshold counting as 0. Near 1 the box is full, near 0 the map is a thin or ragged shape in it; 0
            where there is no box. It compares boxes with each other; of whether the phrase is true of the
            image it says nothing, since each map is stretched by itself.
        targets: (U,K,4) float64, the true boxes that the protocol compares with, xyxy; NaN rows for none.
        judged: (U,) bool, whether the protocol judges the query: it has true boxes, and these are large
            enough.
        hits: (U,) bool, whether the point counts; False where nothing is judged.
        ious: (U,) float64, overlap with what the protocol compares with; 0 where the map has no box or
            nothing is judged.
    """

    queries: Tensor
    row_of_query: Tensor
    sizes: Tensor
    maps: Tensor
    points: Tensor
    boxes: Tensor
    scores: Tensor
    targets: Tensor
    judged: Tensor
    hits: Tensor
    ious: Tensor

    def on(self, query: int) -> Decision:
        """The decision on one of the Q queries, alone or as a mention of its chain.

        Raises:
            ValueError: there is none, because only what the protocol judges was decided.
        """
        row = int(self.row_of_query[query])
        if row < 0:
            raise ValueError(f"nothing was decided on query {query}, which the protocol does not judge.")
        y, x = self.points[row].tolist()
        box = None if self.boxes[row].isnan().any() else tuple(self.boxes[row].tolist())
        score = float(self.scores[row])
        if not self.judged[row]:
            return Decision((x, y), box, score, self.maps[row], None, None)
        return Decision((x, y), box, score, self.maps[row], bool(self.hits[row]), float(self.ious[row]))


def decide(
    heatmaps: Tensor, queries: Queries, rules: Protocol, truth: Truth | None = None, judged_only: bool = False
) -> Decisions:
    """Decides on a batch; an empty one is welcome.

    Args:
        heatmaps: (Q,h,w), any float type, any device; larger where the phrase is.
        queries: what is asked.
        rules: the protocol.
        truth: the true boxes. Without them there are points and boxes, and no verdicts.
        judged_only: leaves out what the protocol does not judge, for scores.

    Raises:
        ValueError: heat maps that are not (Q,h,w) or not finite, a box that is inverted or not finite.

    Example:
        >>> from metrics.protocols import CLEAN
        >>> heatmap = torch.zeros(1, 4, 4)
        >>> heatmap[0, 2, 1] = 1.0
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> queries = Queries(torch.tensor([[40, 80]]), image_of_query=one, chain_of_query=one)
        >>> truth = Truth([torch.tensor([[10.0, 10.0, 40.0, 30.0]])])
        >>> decision = decide(heatmap, queries, CLEAN, truth).on(0)
        >>> decision.point, decision.hit
        ((29, 24), True)
        >>> [round(side, 2) for side in decision.box], round(decision.iou, 3)
        ([20.0, 20.0, 40.0, 30.0], 0.333)
        >>> decide(heatmap, queries, CLEAN).on(0).hit is None
        True
    """
    _check_heatmaps(heatmaps, len(queries.image_of_query), queries.keys)
    if truth is not None:
        check_boxes(truth.boxes, queries.keys)
    unit_of_query, first = _units(queries.chain_of_query.cpu(), rules)
    size = queries.sizes.cpu()[queries.image_of_query.cpu().long()[first]]
    targets = _targets(truth, first, size, rules)
    judged = _judged(targets, size, rules)
    kept = judged if judged_only else torch.ones_like(judged)
    size = size[kept]
    targets = targets[kept]
    maps, map_of_unit = _distinct_maps(heatmaps, unit_of_query, kept, getattr(torch, rules.precision))
    squares = {side: _square(maps, side) for side in {rules.point_size, rules.box_size}}
    points = _points(squares[rules.point_size], map_of_unit, size, rules)
    scale = size.flip(-1).repeat(1, 2).double()
    predicted, scores = _predicted_boxes(squares[rules.box_size], map_of_unit, rules)
    row_of_unit = torch.where(kept, kept.cumsum(0) - 1, -1)
    return Decisions(
        queries=first[kept],
        row_of_query=row_of_unit[unit_of_query],
        sizes=size,
        maps=maps[map_of_unit.to(maps.device)],
        points=points,
        boxes=predicted * scale,
        scores=scores,
        targets=targets,
        judged=judged[kept],
        hits=_hits(points, targets, rules),
        # In fractions of the image, as in the reference code: there an IoU may be exactly one half.
        ious=_overlaps(predicted, targets / scale[:, None], rules),
    )


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


def _targets(truth: Truth | None, first: Tensor, size: Tensor, rules: Protocol) -> Tensor:
    """The boxes that the protocol compares with: (U,K,4) float64, NaN rows for none."""
    if truth is None:
        return torch.full((len(first), 1, 4), torch.nan, dtype=torch.float64)
    return evaluated_boxes(pad_boxes(truth.boxes)[first], size, rules, truth.published)


def _judged(targets: Tensor, size: Tensor, rules: Protocol) -> Tensor:
    """Which decisions the protocol judges: (U,K,4), (U,2) -> (U,) bool."""
    present = ~targets.isnan().any(-1)
    if rules.min_area == 0:
        return present.any(1)
    least = rules.min_area * size[:, 1].double() * size[:, 0]
    if rules.area_rule == "each":
        return present.any(1) & ((area(targets) > least[:, None]) | ~present).all(1)
    return area(targets[:, 0] if rules.area_rule == "first" else union_box(targets)) > least


def _distinct_maps(
    heatmaps: Tensor, unit_of_query: Tensor, kept: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The maps to decide on (M,h,w) in a type, and the one of each decision that is kept (U,).

    Maps that are the same memory, as a baseline's that says the same of every query, are one.
    """
    units = int(kept.sum())
    if len(heatmaps) > 1 and heatmaps.stride(0) == 0:
        return heatmaps[:1].to(dtype), torch.zeros(units, dtype=torch.long)
    return _average(heatmaps, unit_of_query, kept).to(dtype), torch.arange(units)


def _average(heatmaps: Tensor, unit_of_query: Tensor, kept: Tensor) -> Tensor:
    """The mean map of each decision that is kept, in the order of decisions: (Q,h,w) -> (U,h,w), at least
    float32.
    """
    if heatmaps.device.type == "mps":  # has no float64
        heatmaps = heatmaps.cpu()
    queries = kept[unit_of_query].nonzero()[:, 0]
    queries = queries[unit_of_query[queries].argsort(stable=True)]
    lengths = unit_of_query.bincount(minlength=len(kept))[kept]
    maps = heatmaps[queries.to(heatmaps.device)]
    if maps.dtype != torch.float64:
        maps = maps.float()
    if len(lengths) == len(queries):
        return maps
    # Unlike an indexed addition, this adds in the same order on every device.
    return torch.segment_reduce(maps, "mean", lengths=lengths.to(maps.device), axis=0)


def _hits(points: Tensor, targets: Tensor, rules: Protocol) -> Tensor:
    """Which points count: (U,2), (U,K,4) -> (U,) bool."""
    if rules.point_boxes == "union":
        targets = union_box(targets)[:, None]
    return points_in_boxes(points, targets, rules.inside)


def _overlaps(predicted: Tensor, targets: Tensor, rules: Protocol) -> Tensor:
    """IoU with what the protocol compares with: (U,4), (U,K,4) in one unit -> (U,)."""
    if rules.gt_box == "union":
        targets = union_box(targets)[:, None]
    return best_iou(predicted, targets)


def _square(maps: Tensor, side: int | None) -> Tensor:
    if side is None or maps.shape[1:] == (side, side) or not len(maps):
        return maps
    return interpolate(maps[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def _points(maps: Tensor, map_of_unit: Tensor, size: Tensor, rules: Protocol) -> Tensor:
    """(U,2) on the CPU: one resize for each map and size of image.

    Args:
        maps: (M,h,w).
        map_of_unit: (U,) long, into the maps.
        size: (U,2), height and width of the images.
        rules: the protocol.
    """
    points = torch.zeros(len(size), 2, dtype=torch.long)
    if not len(size):
        return points
    distinct_sizes, index_of_size = size.unique(dim=0, return_inverse=True)
    for index, (height, width) in enumerate(distinct_sizes.tolist()):
        rows = (index_of_size == index).nonzero()[:, 0]
        chosen, index_of_map = map_of_unit[rows].unique(return_inverse=True)
        peaks = peak_points(maps[chosen.to(maps.device)], (height, width), rules.point_resize).cpu()
        points[rows] = peaks[index_of_map]
    return points


def _predicted_boxes(maps: Tensor, map_of_unit: Tensor, rules: Protocol) -> tuple[Tensor, Tensor]:
    """The union of the boxes in each decision's map, as fractions of the map: (U,4) float64 on the CPU, NaN
    for none; and the confidence of the best of them, (U,) float64.
    """
    height, width = maps.shape[1:]
    candidates = boxes_from_heatmaps(maps, rules.box_rule, rules.box_threshold)
    boxes_of_map = [torch.from_numpy(boxes[:, :4]) for boxes in candidates]
    scores = [float(boxes[0, 4]) if len(boxes) else 0.0 for boxes in candidates]
    unions = union_box(pad_boxes(boxes_of_map)) / torch.tensor([width, height, width, height])
    return unions[map_of_unit], torch.tensor(scores, dtype=torch.float64)[map_of_unit]
