"""The pointing game: does the largest value of a heat map lie in a box of the query?"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

Inside = Literal["strict", "inclusive", "half_open"]

Resize = Literal["bicubic", "bilinear"]

_OPENCV = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}
_PIXELS = 1 << 24  # resized at a time on an accelerator: bounds the memory to 128 MB in float64


def peak_points(heatmaps: Tensor, size: tuple[int, int], resize: Resize = "bicubic") -> Tensor:
    """The first maximum, row by row, of each map resized to an image.

    Half-pixel centres (``align_corners=False``), no anti-aliasing, in the maps' own precision but at least
    float32. A map's point does not depend on the maps that are resized with it.

    On a CPU, OpenCV resizes, as in the code of WWbL. For both kinds it is several times as fast as torch,
    with which it agrees to float32's last digits (bicubic, the code of SelfEQ) and to 1e-15 (bilinear).

    Args:
        heatmaps: (q,h,w).
        size: height and width of the image, in pixels.
        resize: the interpolation.

    Returns:
        (q,2) long, y and x of a pixel of the image.

    Example:
        >>> heatmap = torch.zeros(1, 4, 4)
        >>> heatmap[0, 2, 1] = 1.0
        >>> peak_points(heatmap, size=(40, 80)).tolist()
        [[24, 29]]
    """
    height, width = size
    if heatmaps.dtype != torch.float64:
        heatmaps = heatmaps.float()
    if heatmaps.device.type == "cpu":
        flat = torch.tensor([_peak(one, size, resize) for one in heatmaps.numpy()], dtype=torch.long)
    else:
        chunks = heatmaps.split(max(1, _PIXELS // (height * width)))
        flat = torch.cat([_resized(chunk, size, resize).flatten(1).argmax(1) for chunk in chunks])
    return torch.stack((flat // width, flat % width), 1)


def _peak(heatmap: np.ndarray, size: tuple[int, int], resize: Resize) -> int:
    """The first maximum of one map (h,w), as an index into the pixels of the image."""
    height, width = size
    return int(cv2.resize(heatmap, (width, height), interpolation=_OPENCV[resize]).argmax())


def _resized(heatmaps: Tensor, size: tuple[int, int], resize: Resize) -> Tensor:
    full = interpolate(heatmaps[:, None], size=size, mode=resize, align_corners=False)[:, 0]
    if resize == "bilinear":
        # Beyond the last centre the map is constant, in OpenCV to the last bit; torch's rounding there would
        # move the first maximum of a border peak.
        y = _first_pixel_beyond(heatmaps.shape[1], size[0])
        x = _first_pixel_beyond(heatmaps.shape[2], size[1])
        full[:, y:] = full[:, y : y + 1]
        full[:, :, x:] = full[:, :, x : x + 1]
    return full


def _first_pixel_beyond(cells: int, pixels: int) -> int:
    """The first of so many pixels that does not lie before the centre of the last cell."""
    return math.ceil((cells - 0.5) * pixels / cells - 0.5)


def points_in_boxes(points: Tensor, boxes: Tensor, inside: Inside = "half_open") -> Tensor:
    """Whether each point lies in any of its boxes.

    Args:
        points: (q,2), y and x.
        boxes: (q,K,4) xyxy in the unit of the points, NaN rows for none.
        inside: ``strict`` excludes all four sides, ``inclusive`` includes them, ``half_open`` includes the
            low ones only: x0 <= x < x1.

    Returns:
        (q,) bool.

    Example:
        >>> boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0]]])
        >>> points_in_boxes(torch.tensor([[5, 10]]), boxes, "half_open").tolist()
        [False]
        >>> points_in_boxes(torch.tensor([[5, 10]]), boxes, "inclusive").tolist()
        [True]
    """
    point = points.flip(-1)[:, None].to(boxes)
    above = point > boxes[..., :2] if inside == "strict" else point >= boxes[..., :2]
    below = point <= boxes[..., 2:] if inside == "inclusive" else point < boxes[..., 2:]
    return (above & below).all(-1).any(-1)
