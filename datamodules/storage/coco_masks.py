"""COCO's three ways to write a mask (Lin et al. 2014, arXiv:1405.0312): polygons, run lengths as a list, run
lengths packed into a string.

Run lengths count pixels column by column, beginning with those outside of the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datamodules.errors import DataError

GRID_POINTS = 5  # a pixel, of the grid on which COCO's tools draw outlines
MAX_DISTANCE = 2  # image sides; an outline farther out is a fault, and would take long to walk along


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Draws the ``segmentation`` of a COCO annotation.

    Args:
        segmentation: a list of polygons ``[x0, y0, x1, y1, ...]``, whose union is meant, or ``{"size": [H,
            W], "counts": list | str | bytes}``.
        height, width: of the image.

    Returns:
        (H,W) bool.

    Raises:
        DataError: it is neither, or does not fit the image.

    Example:
        >>> decode_mask({"size": [2, 3], "counts": [1, 2, 3]}, height=2, width=3).astype(int)
        array([[0, 1, 0],
               [1, 0, 0]])
    """
    if isinstance(segmentation, Mapping):
        return _from_runs(segmentation, height, width)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, (str, bytes)) or not segmentation:
        raise DataError(f"a mask is neither polygons nor run lengths: {str(segmentation)[:60]}")
    mask = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        mask |= polygon_mask(polygon, height, width)
    return mask


def polygon_mask(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Fills one outline, pixel for pixel as COCO's own tools draw it.

    The outline is walked on a grid five times as fine as the pixels. Wherever a step crosses the centre line
    of a pixel column, everything below that point in the column is turned over.

    Args:
        polygon: corners ``[x0, y0, x1, y1, ...]`` in pixels.
        height, width: of the image.

    Returns:
        (H,W) bool.

    Raises:
        DataError: the polygon is no list of pairs, or lies far outside of the image.

    Example:
        >>> polygon_mask([1, 0, 3, 0, 3, 2, 1, 2], height=3, width=4).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    try:
        corners = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"a polygon is not a list of numbers: {str(polygon)[:60]}") from error
    pairs = corners.ndim == 1 and len(corners) >= 2 and len(corners) % 2 == 0
    if not pairs or not (np.abs(corners) <= MAX_DISTANCE * max(height, width)).all():
        raise DataError(
            f"a polygon is not a list of x, y pairs in an image of {width}x{height}: {str(polygon)[:60]}"
        )
    start = (GRID_POINTS * corners.reshape(-1, 2) + 0.5).astype(np.int64)
    x, y = _walk(start, np.roll(start, -1, axis=0))
    left = np.minimum(x[1:], x[:-1])
    top = np.minimum(y[1:], y[:-1])
    column, offset = np.divmod(left, GRID_POINTS)
    crossing = (x[1:] != x[:-1]) & (offset == GRID_POINTS // 2) & (column >= 0) & (column < width)
    row = np.ceil(np.clip((top[crossing] + 0.5) / GRID_POINTS - 0.5, 0, height)).astype(np.int64)
    turns = np.bincount(column[crossing] * height + row, minlength=height * width + 1)[: height * width]
    return (np.cumsum(turns) % 2).astype(bool).reshape(width, height).T


def _walk(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grid points along edges: one for each unit of an edge's longer side, both ends included.

    Args:
        start, end: (E,2) int64, the ends of each edge.

    Returns:
        x and y of all points, edge after edge.
    """
    steps = np.abs(end - start).max(axis=1)
    edge = np.repeat(np.arange(len(start)), steps + 1)
    progress = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    longer = np.abs(end - start).argmax(axis=1)  # of two equal sides x
    rows = np.arange(len(start))
    # An edge is drawn from its lower end of the longer side, so that it is the same line in both directions.
    backwards = start[rows, longer] > end[rows, longer]
    low = np.where(backwards[:, None], end, start)
    high = np.where(backwards[:, None], start, end)
    progress = np.where(backwards[edge], steps[edge] - progress, progress)
    slope = (high - low) / np.maximum(steps, 1)[:, None]
    points = low[edge] + (slope[edge] * progress[:, None] + 0.5)
    return points[:, 0].astype(np.int64), points[:, 1].astype(np.int64)


def _from_runs(segmentation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """As `decode_mask`, of run lengths."""
    counts = segmentation.get("counts")
    size = segmentation.get("size", [height, width])
    if size not in ([height, width], (height, width)):
        raise DataError(f"a mask of {size} (height, width) belongs to an image of {[height, width]}")
    runs = counts
    if isinstance(counts, (str, bytes)):
        runs = unpack_runs(counts)
    try:
        lengths = np.asarray(runs, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the run lengths of a mask are no list of integers: {str(counts)[:60]}") from error
    plausible = lengths.ndim == 1 and (lengths >= 0).all() and (lengths <= height * width).all()
    if not plausible or lengths.sum() != height * width:
        raise DataError(f"the run lengths of a mask do not add up to {height}x{width} pixels")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def unpack_runs(packed: str | bytes) -> list[int]:
    """Reads the run lengths from COCO's string.

    Each character stands for five bits, from 48 upwards, the lowest bits of a number first; 32 says that more
    follow, 16 of the last is the sign. From the fourth number on, a number is the difference to the last but
    one.

    Example:
        >>> unpack_runs("0163")
        [0, 1, 6, 4]
    """
    runs: list[int] = []
    value = 0
    shift = 0
    if isinstance(packed, str):
        packed = packed.encode()
    for character in packed:
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        value = 0
        shift = 0
    return runs
