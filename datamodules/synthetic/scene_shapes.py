"""The shapes of procedural scenes as stamps: masks and blending weights, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

# Side of a stamp, as a share of the image's side.
SIDE = {"small": 0.20, "medium": 0.28, "large": 0.39}
# Pixels, in an image of 64, by which a pattern keeps off the outline, so that small shapes can still be told.
RIM = {"plain": 0.0, "striped": 0.4, "dotted": 0.8}
VARIANTS = 6  # of a stamp: tilt, exact side, direction and phase of its pattern

# Horizontal and vertical distance from the star's centre of the notch where two of its arms meet.
_NOTCH_X = 0.45 * math.cos(math.pi / 5)
_NOTCH_Y = 0.45 * math.sin(math.pi / 5)


class Stamp(NamedTuple):
    """A shape ready to be drawn, cut tightly around the pixels of which it covers at least half.

    Args:
        mask: (h,w) bool, those pixels.
        area: their number.
        weights: (3,h,w,1) uint16, the weights, which sum to 256, of what is behind it, of its colour and of
            its pattern's ink.
    """

    mask: np.ndarray
    area: int
    weights: np.ndarray


# Functions from coordinates to whether the point lies within the shape: of the square [-1, 1]^2, y downwards.


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) <= 1


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) <= 0.9


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y <= 0.9) & (np.abs(x) <= (y + 1) / 1.9)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The five-fold symmetry folds the star onto one half arm, whose edge is a straight line from the tip to
    the notch.
    """
    angle = np.abs((np.arctan2(x, -y) + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    return np.hypot(x, y) * (_NOTCH_Y * np.cos(angle) + (1 - _NOTCH_X) * np.sin(angle)) <= _NOTCH_Y


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.minimum(np.abs(x), np.abs(y)) <= 0.33) & (np.maximum(np.abs(x), np.abs(y)) <= 1)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.76) <= 0.24


def _diamond(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(x) + np.abs(y) <= 1


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two discs and a wedge; the discs stand far enough apart for a cleft that a few pixels can show."""
    return (np.hypot(np.abs(x) - 0.46, y + 0.36) <= 0.54) | ((y >= -0.08) & (np.abs(x) <= 0.84 * (0.95 - y)))


INSIDE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "diamond": _diamond,
    "heart": _heart,
}


@lru_cache(maxsize=4096)
def stamp(shape: str, fill: str, size: str, variant: int, image_size: int) -> Stamp:
    """Draws a shape with its pattern on a grid finer than the pixels.

    Args:
        shape, fill, size: words of ``SHAPES``, ``FILLS``, ``SIZES``.
        variant: below `VARIANTS`.
        image_size: side of the image in pixels.

    Returns:
        The stamp; the same arguments give the same one.
    """
    rng = Random(f"{shape}/{fill}/{size}/{variant}")
    side = SIDE[size] * image_size * (0.95 + 0.1 * rng.random())
    tilt = math.radians(20 * rng.random() - 10)
    finer = max(2, 256 // image_size)
    pixels = math.ceil(1.3 * side)
    v, u = (np.mgrid[: pixels * finer, : pixels * finer] + 0.5) / finer - pixels / 2  # from the centre
    x = (math.cos(tilt) * u + math.sin(tilt) * v) * 2 / side
    y = (math.cos(tilt) * v - math.sin(tilt) * u) * 2 / side

    inside = INSIDE[shape](x, y)
    pattern = _pattern(rng, fill, u, v, max(image_size / 16, side / 4.5))
    pattern &= distance_transform_edt(inside) > RIM[fill] * finer * image_size / 64
    alpha = (256 * _shrink(inside, pixels)).astype(np.uint16)
    ink = (256 * _shrink(pattern, pixels)).astype(np.uint16)
    left, top, right, bottom = tight_box(alpha >= 128)
    alpha = alpha[top:bottom, left:right]
    ink = ink[top:bottom, left:right]
    mask = alpha >= 128
    return Stamp(mask, int(mask.sum()), np.stack([256 - alpha, alpha - ink, ink])[..., None])


def _pattern(rng: Random, fill: str, u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Where the ink of a pattern is.

    Args:
        rng: gives the direction and the phase.
        fill: a word of ``FILLS``.
        u, v: coordinates in pixels.
        period: of the pattern in pixels.

    Returns:
        bool, of the shape of u and v.
    """
    turn = math.pi * rng.random()
    p = (math.cos(turn) * u + math.sin(turn) * v) / period + rng.random()
    q = (math.cos(turn) * v - math.sin(turn) * u) / period + rng.random()
    if fill == "striped":
        return p % 1 < 0.45
    if fill == "dotted":
        return np.hypot(p % 1 - 0.5, q % 1 - 0.5) < 0.33
    return np.zeros(p.shape, bool)


def _shrink(fine: np.ndarray, pixels: int) -> np.ndarray:
    """(kP,kP) -> (P,P), the share of each pixel that is covered."""
    return fine.reshape(pixels, -1, pixels, len(fine) // pixels).mean((1, 3))


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a mask that is not empty.

    Args:
        mask: (H,W) bool.

    Returns:
        xyxy in pixels, the maximum exclusive.

    Example:
        >>> tight_box(np.array([[0, 0, 0], [0, 1, 1]], bool))
        (1, 1, 3, 2)
    """
    columns = np.flatnonzero(mask.any(0))
    rows = np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
