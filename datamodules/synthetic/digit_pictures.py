"""Pictures of a few handwritten digits, drawn as a pure function of a key."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.synthetic.digit_glyphs import Glyphs

CELL = 32  # pixels of a grid's cell
TRIES = 24  # places drawn for a digit, of which the first that overlaps little enough is taken


@dataclass(frozen=True)
class Drawing:
    """How a picture of digits is made.

    Args:
        canvas: side in pixels of pictures without a grid.
        digits: fewest and most digits of a picture.
        scale: of MNIST's 28 pixels, smallest and largest.
        overlap: each picture draws from [0, this] how much the boxes of its digits may overlap (IoU).
        noise: each picture draws the standard deviation of its white noise from [0, this], white being 1.
    """

    canvas: int = 64
    digits: tuple[int, int] = (1, 4)
    scale: tuple[float, float] = (0.8, 1.1)
    overlap: float = 0.3
    noise: float = 0.2


@dataclass(frozen=True)
class Picture:
    """A picture of n digits.

    Attributes:
        image: (S,S) uint8.
        labels: (n,) the digits.
        boxes: (n,4) xyxy, the tight box of each digit's ink, before noise and whatever lies over it.
    """

    image: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


def draw_picture(glyphs: Glyphs, drawing: Drawing, key: tuple[int, ...], grid: int = 0) -> Picture:
    """The picture that ``key`` (seed, split, index) names, the same on every machine: digits at random
    places, or one in each cell of ``grid`` x ``grid``.

    Digits are joined by the brighter pixel. In a grid they keep their size and lie anywhere in their cell of
    32 pixels.

    Args:
        glyphs: the digits to choose from.
        drawing: how the picture is made.
        key: seeds its random numbers.
        grid: side of the grid in cells; 0 for random places.
    """
    rng = np.random.default_rng(key)
    count = grid * grid or int(rng.integers(drawing.digits[0], drawing.digits[1] + 1))
    side = grid * CELL or drawing.canvas
    canvas = np.zeros((side, side), np.uint8)
    chosen = rng.integers(len(glyphs.labels), size=count)
    sides = np.rint(28 * rng.uniform(*drawing.scale, size=count)).astype(int).tolist()
    allowed = rng.uniform(0, drawing.overlap)
    places = rng.random((count, TRIES, 2))
    boxes = np.zeros((count, 4), np.int64)
    for number, (row, size) in enumerate(zip(chosen, sides, strict=True)):
        ink = _tight(cv2.resize(glyphs.images[row], (size, size), interpolation=cv2.INTER_LINEAR))
        height, width = ink.shape
        if grid:
            corner = np.array([number // grid, number % grid]) * CELL
            room = (CELL - height + 1, CELL - width + 1)
            top, left = corner + (places[number, 0] * room).astype(int)
        else:
            corners = (places[number] * (side - height + 1, side - width + 1)).astype(int)
            top, left = corners[_least_overlapping(corners, height, width, boxes[:number], allowed)]
        boxes[number] = left, top, left + width, top + height
        window = canvas[top : top + height, left : left + width]
        np.maximum(window, ink, out=window)
    white_noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    noisy = canvas + white_noise * np.float32(255 * rng.uniform(0, drawing.noise))
    return Picture(np.rint(noisy).clip(0, 255).astype(np.uint8), glyphs.labels[chosen], boxes)


def _tight(glyph: np.ndarray) -> np.ndarray:
    """The part of a glyph that holds its ink."""
    x, y, width, height = cv2.boundingRect(glyph)
    return glyph[y : y + height, x : x + width]


def _least_overlapping(
    corners: np.ndarray, height: int, width: int, boxes: np.ndarray, allowed: float
) -> int:
    """The first of the places (y, x) whose box overlaps each of ``boxes`` by an IoU of at most ``allowed``;
    if there is none, the one that does least.
    """
    if not len(boxes):
        return 0
    top = corners[:, :1]
    left = corners[:, 1:]
    across = np.minimum(left + width, boxes[:, 2]) - np.maximum(left, boxes[:, 0])
    down = np.minimum(top + height, boxes[:, 3]) - np.maximum(top, boxes[:, 1])
    intersection = across.clip(0) * down.clip(0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    greatest_iou = (intersection / (height * width + areas - intersection)).max(1)
    if (greatest_iou <= allowed).any():
        return int((greatest_iou <= allowed).argmax())
    return int(greatest_iou.argmin())
