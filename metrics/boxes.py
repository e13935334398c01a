"""Boxes: areas, unions, overlaps, and the boxes that lie in a heat map.

Boxes are xyxy in pixels; q queries, K boxes of one, NaN rows where it has fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms  # type: ignore[import-untyped]

BoxRule = Literal["reference", "clean"]

# Pixels stretched at a time. On a CPU blocks that fit its cache are three times as fast; an accelerator wants
# them large.
_CPU_PIXELS = 1 << 17
_PIXELS = 1 << 24


def area(boxes: Tensor) -> Tensor:
    """Width times height, without "+1".

    Args:
        boxes: (...,4).

    Returns:
        (...); 0 for a box that a change of convention has turned inside out, NaN for a NaN row.
    """
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def union_box(boxes: Tensor) -> Tensor:
    """The smallest box around several.

    Args:
        boxes: (...,K,4), NaN rows for none.

    Returns:
        (...,4); NaN where there is no box.

    Example:
        >>> union_box(torch.tensor([[0.0, 0.0, 2.0, 2.0], [5.0, 1.0, 6.0, 4.0]])).tolist()
        [0.0, 0.0, 6.0, 4.0]
    """
    missing = boxes.isnan()
    low = boxes.masked_fill(missing, torch.inf).amin(-2)
    high = boxes.masked_fill(missing, -torch.inf).amax(-2)
    union = torch.cat((low[..., :2], high[..., 2:]), -1)
    return union.masked_fill(union.isinf(), torch.nan)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes pair by pair (``torchvision.ops.box_iou`` has every pair instead).

    Args:
        a, b: (...,4), broadcast against each other.

    Returns:
        (...) in [0, 1]; 0 where a box is NaN or both are empty.

    Example:
        >>> iou(torch.tensor([0.0, 0.0, 4.0, 2.0]), torch.tensor([2.0, 0.0, 6.0, 2.0])).item()
        0.3333333432674408
    """
    shared = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    intersection = shared.clamp(min=0).prod(-1)
    union = area(a) + area(b) - intersection
    return torch.where(union > 0, intersection / union, 0.0)


def best_iou(predicted: Tensor, targets: Tensor) -> Tensor:
    """IoU with the best fitting target.

    Args:
        predicted: (q,4), NaN for none.
        targets: (q,K,4), NaN rows for none; in the unit of ``predicted``.

    Returns:
        (q,) in [0, 1]; 0 for a NaN prediction.

    Example:
        >>> targets = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 2.0]]])
        >>> best_iou(torch.tensor([[0.0, 0.0, 4.0, 2.0]]), targets).tolist()
        [1.0]
    """
    return iou(predicted[:, None], targets).amax(-1)


def pad_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """q tensors (K_i,4) -> (q,K,4) float64 on the CPU, K the largest of the K_i and at least 1, filled up
    with NaN rows.
    """
    counts = [len(boxes_of_query) for boxes_of_query in boxes]
    padded = torch.full((len(boxes), max([1, *counts]), 4), torch.nan, dtype=torch.float64)
    if boxes:
        taken = torch.arange(padded.shape[1]) < torch.tensor(counts)[:, None]
        flat = torch.cat([boxes_of_query.reshape(-1, 4) for boxes_of_query in boxes])
        padded[taken] = flat.double().cpu()
    return padded


def check_boxes(boxes: Sequence[Tensor], keys: Sequence[str] | None = None) -> None:
    """Checks that each box is four finite numbers with x0 <= x1 and y0 <= y1; it may leave the image.

    Args:
        boxes: q tensors (K,4).
        keys: q names for the message.

    Raises:
        ValueError: the first box that is not so, and its query.
    """
    for query, boxes_of_query in enumerate(boxes):
        if boxes_of_query.ndim != 2 or boxes_of_query.shape[-1] != 4:
            shape = tuple(boxes_of_query.shape)
            raise ValueError(f"the boxes of {_named(query, keys)} have shape {shape} and not (K, 4).")
    if not boxes:
        return
    flat = torch.cat(list(boxes)).cpu()
    bad = ~flat.isfinite().all(-1) | (flat[:, 2:] < flat[:, :2]).any(-1)
    if bad.any():
        row = int(bad.nonzero()[0])
        ends = np.cumsum([len(boxes_of_query) for boxes_of_query in boxes])
        query = int(np.searchsorted(ends, row, side="right"))
        raise ValueError(
            f"the box {flat[row].tolist()} of {_named(query, keys)} "
            "is not x0 <= x1, y0 <= y1 in finite numbers."
        )


def _named(index: int, keys: Sequence[str] | None) -> str:
    return f"query '{keys[index]}'" if keys else f"query {index}"


@cache
def cubehelix_grey() -> np.ndarray:
    """(256,) uint8: the grey value of each entry of the colour map that the reference code paints a heat map
    with before it looks for boxes.

    Cubehelix (Green 2011: start 0.5, rotations -1.5, hue 1, gamma 1), truncated to bytes, then the luma of
    OpenCV's 8-bit RGB2GRAY. It climbs with its index and differs from it by one at most, so that the
    threshold is half of the map's range; the confidences need the values themselves.
    """
    fraction = np.linspace(0, 1, 256)
    angle = 2 * np.pi * (0.5 / 3 - 1.5 * fraction)
    amplitude = fraction * (1 - fraction) / 2
    cos = np.array([-0.14861, -0.29227, 1.97294])
    sin = np.array([1.78277, -0.90649, 0.0])
    rgb = fraction[:, None] + amplitude[:, None] * (
        np.outer(np.cos(angle), cos) + np.outer(np.sin(angle), sin)
    )
    rgb = (rgb.clip(0, 1).astype(np.float32) * np.float32(255)).astype(np.uint8)
    return cv2.cvtColor(rgb[None], cv2.COLOR_RGB2GRAY)[0]


def boxes_from_heatmaps(
    heatmaps: Tensor,
    rule: BoxRule = "reference",
    threshold: float = 0.5,
    nms_iou: float = 0.05,
    drop: float = 0.5,
) -> list[np.ndarray]:
    """The boxes in heat maps; the image-wide work is done at once on the maps' device, the contours one map
    after the other on the CPU.

    A candidate's confidence is the mean, over its rectangle, of the map with everything below the threshold
    set to zero.

    ``reference`` is ``generate_bbox`` of WWbL's reference code to the last digit: min-max, cubehelix, grey,
    threshold at half of the largest grey, the rectangles of all contours *including those of holes*,
    non-maximum suppression that takes (x, y, width, height) for corners, and only candidates whose confidence
    exceeds ``drop`` times the best. A map without contour, i.e. a constant one, has the box (0, 0, 1, 1) with
    confidence 0, which the reference code lists twice.

    ``clean`` is what that meant to do: min-max, at least ``threshold``, 8-connected components, suppression
    on true corners, the same drop. A constant map has no box: it says nothing about where, and a box around
    everything would be rewarded for every large object.

    Args:
        heatmaps: (q,h,w), any float type, finite.
        rule: ``reference`` or ``clean``.
        threshold: as a fraction of the map's range.
        nms_iou: overlap above which the less confident candidate goes.
        drop: fraction of the best confidence that a candidate must exceed.

    Returns:
        q float64 arrays (n,5): x0, y0, x1, y1 in pixels of the map, the maximum exclusive, and the confidence
        in [0, 1]; best first.
    """
    if not len(heatmaps):
        return []
    pixels = _CPU_PIXELS if heatmaps.device.type == "cpu" else _PIXELS
    blocks = heatmaps.split(max(1, pixels // max(1, heatmaps[0].numel())))
    find_boxes = _clean_boxes if rule == "clean" else _reference_boxes
    return [boxes for block in blocks for boxes in find_boxes(block, threshold, nms_iou, drop)]


def boxes_from_heatmap(
    heatmap: Tensor | np.ndarray, rule: BoxRule = "reference", **options: float
) -> np.ndarray:
    """One map (h,w) -> (n,5), see :func:`boxes_from_heatmaps`.

    Example:
        >>> heatmap = torch.zeros(8, 8)
        >>> heatmap[2:4, 1:6] = 0.8
        >>> boxes_from_heatmap(heatmap, "clean").tolist()
        [[1.0, 2.0, 6.0, 4.0, 1.0]]
    """
    return boxes_from_heatmaps(torch.as_tensor(heatmap)[None], rule, **options)[0]


def _reference_boxes(heatmaps: Tensor, threshold: float, nms_iou: float, drop: float) -> list[np.ndarray]:
    """The boxes of each map by the rule of WWbL's code: (q,h,w) -> q arrays (n,5)."""
    stretched = heatmaps.double()
    stretched = stretched - stretched.amin((1, 2), keepdim=True)
    # A constant map is zero everywhere; it is divided by the least positive number.
    stretched /= stretched.amax((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    levels = stretched.mul_(256).clamp_(max=255).to(torch.uint8).cpu().numpy()
    return [_reference_boxes_of(map_levels, threshold, nms_iou, drop) for map_levels in levels]


def _reference_boxes_of(levels: np.ndarray, threshold: float, nms_iou: float, drop: float) -> np.ndarray:
    """The boxes of one map, given as entries of the colour map (h,w) uint8."""
    grey = cv2.LUT(levels, cubehelix_grey())
    _, grey = cv2.threshold(grey, int(int(grey.max()) * threshold), 255, cv2.THRESH_TOZERO)
    contours, _ = cv2.findContours(grey, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.array([[0.0, 0.0, 1.0, 1.0, 0.0]])
    xywh = np.array([cv2.boundingRect(contour) for contour in contours])
    total = cv2.integral(grey)
    x, y, w, h = xywh.T
    sums = total[y + h, x + w] - total[y, x + w] - total[y + h, x] + total[y, x]
    return _confident(xywh, sums / (w * h) / 255, xywh, nms_iou, drop)


def _clean_boxes(heatmaps: Tensor, threshold: float, nms_iou: float, drop: float) -> list[np.ndarray]:
    """The boxes of each map by our own rule: (q,h,w) -> q arrays (n,5)."""
    if heatmaps.dtype != torch.float64:
        heatmaps = heatmaps.float()
    low = heatmaps.amin((1, 2), keepdim=True)
    reach = heatmaps.amax((1, 2), keepdim=True).double() - low.double()
    above = (heatmaps >= _at_least(low + threshold * reach, heatmaps.dtype)) & (reach > 0)
    maps = zip(
        heatmaps.cpu().numpy(),
        above.to(torch.uint8).cpu().numpy(),
        low.flatten().tolist(),
        reach.flatten().tolist(),
        strict=True,
    )
    return [_clean_boxes_of(*one, nms_iou, drop) for one in maps]


def _at_least(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """The least number of a type that is not below a float64, so that a comparison with it is exact."""
    rounded = numbers.to(dtype)
    infinity = torch.tensor(torch.inf, dtype=dtype, device=rounded.device)
    return torch.where(rounded.double() < numbers, rounded.nextafter(infinity), rounded)


def _first_pixel(contour: np.ndarray) -> tuple[int, int]:
    """Where a contour (n,1,2) begins, row by row."""
    x, y = contour[0, 0].tolist()
    return y, x


def _clean_boxes_of(
    heatmap: np.ndarray, above: np.ndarray, low: float, reach: float, nms_iou: float, drop: float
) -> np.ndarray:
    """The boxes of one map.

    Args:
        heatmap: (h,w).
        above: (h,w) uint8, 1 at the threshold and above it.
        low: its least value.
        reach: its largest less its least value.
        nms_iou, drop: see `boxes_from_heatmaps`.
    """
    contours, hierarchy = cv2.findContours(above, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((0, 5))
    # Contours without a parent go around components, the others around holes.
    outer = [contour for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0]
    outer.sort(key=_first_pixel)  # of equally confident boxes the first one stays
    xywh = np.array([cv2.boundingRect(contour) for contour in outer])
    confidence = np.empty(len(xywh))
    for number, (x, y, w, h) in enumerate(xywh):
        mask = above[y : y + h, x : x + w]
        mean = cv2.mean(heatmap[y : y + h, x : x + w], mask)[0]
        confidence[number] = (mean - low) / reach * cv2.countNonZero(mask) / (w * h)
    corners = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), 1)
    return _confident(xywh, confidence, corners, nms_iou, drop)


def _confident(
    xywh: np.ndarray, confidence: np.ndarray, as_corners: np.ndarray, nms_iou: float, drop: float
) -> np.ndarray:
    """Suppression on ``as_corners``, then the drop, in the reference code's precision: float32 to suppress,
    float64 to drop.
    """
    keep = np.zeros(1, dtype=int)
    if len(xywh) > 1:
        keep = nms(
            torch.from_numpy(as_corners).float(), torch.from_numpy(confidence).float(), nms_iou
        ).numpy()
    keep = keep[confidence[keep] > drop * confidence.max()]
    x, y, w, h = xywh[keep].T
    return np.stack((x, y, x + w, y + h, confidence[keep]), 1).astype(np.float64)
