"""The pointing game: does the largest value of a heat map lie in a box of the query?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics import Metric

from metrics.intervals import Estimate, rate_estimate

Inside = Literal["strict", "inclusive", "half_open"]

# Pixels resized at a time: bounds the memory to 32 MB in float64; larger blocks are no faster on a CPU.
_PIXELS = 1 << 22


def peak_points(
    heatmaps: Tensor, size: tuple[int, int], resize: Literal["bicubic", "bilinear"] = "bicubic"
) -> Tensor:
    """The first maximum, row by row, of each map resized to ``size`` = (H,W): (q,h,w) -> (q,2) long, y and x.

    Half-pixel centres (``align_corners=False``), no anti-aliasing, in the maps' own precision but at least
    float32. A map's point does not depend on the maps that are resized with it.
    """
    height, width = size
    if heatmaps.dtype != torch.float64:
        heatmaps = heatmaps.float()
    flat = torch.cat(
        [
            _resized(chunk, size, resize).flatten(1).argmax(1)
            for chunk in heatmaps.split(max(1, _PIXELS // (height * width)))
        ]
    )
    return torch.stack((flat // width, flat % width), 1)


def _resized(heatmaps: Tensor, size: tuple[int, int], resize: str) -> Tensor:
    full = interpolate(heatmaps[:, None], size=size, mode=resize, align_corners=False)[:, 0]
    if resize == "bilinear":
        # Beyond the last centre the map is constant, in OpenCV to the last bit; torch's rounding there would
        # move the first maximum of a border peak.
        y, x = (
            math.ceil((cells - 0.5) * pixels / cells - 0.5)
            for cells, pixels in zip(heatmaps.shape[1:], size, strict=True)
        )
        full[:, y:] = full[:, y : y + 1]
        full[:, :, x:] = full[:, :, x : x + 1]
    return full


def points_in_boxes(points: Tensor, boxes: Tensor, inside: Inside = "half_open") -> Tensor:
    """Whether each point lies in any of its boxes: (q,2) as y and x, (q,K,4) xyxy with NaN rows for none ->
    (q,) bool.

    ``strict`` excludes all four sides, ``inclusive`` includes them, ``half_open`` includes the low ones only:
    x0 <= x < x1.
    """
    point = points.flip(-1)[:, None].to(boxes)
    above = point > boxes[..., :2] if inside == "strict" else point >= boxes[..., :2]
    below = point <= boxes[..., 2:] if inside == "inclusive" else point < boxes[..., 2:]
    return (above & below).all(-1).any(-1)


class PointingGame(Metric):
    """Rate of points that lie in a box of their query; keeps two integer sums.

    Args:
        inside: see :func:`points_in_boxes`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self, inside: Inside = "half_open") -> None:
        super().__init__()
        self.inside = inside
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, points: Tensor, boxes: Tensor) -> None:
        """``points`` (q,2) as y and x, ``boxes`` (q,K,4) with NaN rows for none."""
        self.hits += points_in_boxes(points, boxes, self.inside).sum().to(self.hits.device)
        self.total += len(points)

    def compute(self) -> Estimate:
        """The rate with its Wilson interval."""
        return rate_estimate(int(self.hits), int(self.total))
