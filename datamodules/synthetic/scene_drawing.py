"""Procedural scenes of coloured shapes with true captions, boxes and masks: a data set without files, for
tests, demonstrations and quick studies.

A scene is a pure function of its name (seed, split, index), the same in every process. It holds 1 to 5
objects that may partly cover each other (never one of their own colour) on a muted, textured, noisy
background; objects often share a shape or a colour, so that attributes matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from datamodules.synthetic.scene_grammar import (
    COLOURS,
    FILLS,
    SHAPES,
    SIZES,
    SceneObject,
    ScenePhrase,
    make_caption,
    pick,
    vocabulary,
)

__all__ = [
    "COLOURS",
    "FILLS",
    "HELD_OUT",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "Scene",
    "SceneObject",
    "ScenePhrase",
    "make_scene",
    "vocabulary",
]

SPLITS = ("train", "val", "test")
CAPTIONS = 5
MOST_OBJECTS = 8

RGB = {
    "red": (215, 30, 35),
    "orange": (250, 135, 10),
    "yellow": (250, 225, 40),
    "green": (35, 165, 60),
    "cyan": (40, 210, 225),
    "blue": (40, 70, 225),
    "purple": (130, 40, 175),
    "pink": (255, 130, 205),
}
INK = {
    "plain": (0, 0, 0),
    "striped": (25, 20, 30),
    "dotted": (250, 250, 245),
}  # what the fill's pattern is drawn in
RIM = {
    "plain": 0.0,
    "striped": 0.4,
    "dotted": 0.8,
}  # pixels at 64: the pattern keeps off the outline, so that a small shape can still be told
SIDE = {"small": 0.20, "medium": 0.28, "large": 0.39}  # of a stamp, as a share of the image's side
HELD_OUT = frozenset(
    {
        ("circle", "red"),
        ("square", "blue"),
        ("triangle", "yellow"),
        ("star", "purple"),
        ("ring", "green"),
        ("heart", "cyan"),
    }
)

SHARED = {"shape": 0.3, "colour": 0.3, "both": 0.1}  # how often an object takes these from an earlier one
EDGE_SEEKING = 0.25  # 0: positions are uniform; 1: their density is that of an arcsine law, so that the centre is no good guess
VARIANTS = 6  # of a stamp: tilt, exact side, direction and phase of its pattern
TRIES = 40

Points = np.ndarray
_NOTCH = (0.45 * math.cos(math.pi / 5), 0.45 * math.sin(math.pi / 5))  # of the star, where two arms meet


def _star(x: Points, y: Points) -> np.ndarray:
    """The five-fold symmetry folds the star onto one half arm, whose edge is a straight line from the tip to
    the notch.
    """
    angle = np.abs((np.arctan2(x, -y) + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    return np.hypot(x, y) * (_NOTCH[1] * np.cos(angle) + (1 - _NOTCH[0]) * np.sin(angle)) <= _NOTCH[1]


def _heart(x: Points, y: Points) -> np.ndarray:
    """Two discs and a wedge; the discs stand far enough apart for a cleft that a few pixels can show."""
    return (np.hypot(np.abs(x) - 0.46, y + 0.36) <= 0.54) | ((y >= -0.08) & (np.abs(x) <= 0.84 * (0.95 - y)))


INSIDE: dict[str, Callable[[Points, Points], np.ndarray]] = {  # of the square [-1, 1]^2, y downwards
    "circle": lambda x, y: np.hypot(x, y) <= 1,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.9,
    "triangle": lambda x, y: (y <= 0.9) & (np.abs(x) <= (y + 1) / 1.9),
    "star": _star,
    "cross": lambda x, y: (
        (np.minimum(np.abs(x), np.abs(y)) <= 0.33) & (np.maximum(np.abs(x), np.abs(y)) <= 1)
    ),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.76) <= 0.24,
    "diamond": lambda x, y: np.abs(x) + np.abs(y) <= 1,
    "heart": _heart,
}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One image and all that is true of it.

    Args:
        image: (S,S,3) uint8, RGB.
        objects: in the order in which they were drawn; a later one may cover an earlier one.
        captions: five texts.
        phrases: of all captions, in order; at least one a caption.
    """

    image: np.ndarray
    objects: list[SceneObject]
    captions: list[str]
    phrases: list[ScenePhrase]


class Stamp(NamedTuple):
    """A shape ready to be drawn: ``mask`` (h,w) bool, its ``area`` in pixels, and ``weights`` (3,h,w,1)
    uint16, which sum to 256, of what is behind it, of its colour and of its pattern's ink."""

    mask: np.ndarray
    area: int
    weights: np.ndarray


@lru_cache(maxsize=4096)
def stamp(shape: str, fill: str, size: str, variant: int, image_size: int) -> Stamp:
    """A supersampled shape with its pattern, cut tightly around the pixels of which it covers at least half."""
    rng = Random(f"{shape}/{fill}/{size}/{variant}")
    side = SIDE[size] * image_size * (0.95 + 0.1 * rng.random())
    tilt = math.radians(20 * rng.random() - 10)
    finer, pixels = max(2, 256 // image_size), math.ceil(1.3 * side)
    v, u = (
        np.mgrid[: pixels * finer, : pixels * finer] + 0.5
    ) / finer - pixels / 2  # in pixels, from the centre
    x, y = (
        (math.cos(tilt) * u + math.sin(tilt) * v) * 2 / side,
        (math.cos(tilt) * v - math.sin(tilt) * u) * 2 / side,
    )

    period = max(image_size / 16, side / 4.5)
    turn = math.pi * rng.random()
    p, q = (
        (math.cos(turn) * u + math.sin(turn) * v) / period + rng.random(),
        (math.cos(turn) * v - math.sin(turn) * u) / period + rng.random(),
    )
    pattern = {
        "plain": lambda: np.zeros(p.shape, bool),
        "striped": lambda: p % 1 < 0.45,
        "dotted": lambda: np.hypot(p % 1 - 0.5, q % 1 - 0.5) < 0.33,
    }[fill]()

    inside = INSIDE[shape](x, y)
    pattern &= distance_transform_edt(inside) > RIM[fill] * finer * image_size / 64
    alpha, ink = ((256 * _shrink(fine, pixels)).astype(np.uint16) for fine in (inside, pattern))
    left, top, right, bottom = _tight(alpha >= 128)
    alpha, ink = alpha[top:bottom, left:right], ink[top:bottom, left:right]
    mask = alpha >= 128
    return Stamp(mask, int(mask.sum()), np.stack([256 - alpha, alpha - ink, ink])[..., None])


def _shrink(fine: np.ndarray, pixels: int) -> np.ndarray:
    """(kP,kP) -> (P,P), the share of each pixel that is covered."""
    return fine.reshape(pixels, -1, pixels, len(fine) // pixels).mean((1, 3))


def _tight(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@lru_cache(maxsize=4)
def _textures(image_size: int) -> list[np.ndarray]:
    """Fields (2S,2S) uint8 in [0, 255], twice the image's side so that crops differ: gradients, stripes,
    checks, blobs and noise.
    """
    rng = np.random.default_rng(0)
    side = 2 * image_size
    v, u = np.mgrid[:side, :side] / image_size
    fields = []
    for _ in range(6):
        angle, angle2, frequency = rng.uniform(0, math.pi), rng.uniform(0, math.pi), rng.uniform(2.5, 7)
        wave = np.sin(2 * math.pi * frequency * (math.cos(angle) * u + math.sin(angle) * v))
        fields += [
            np.sin(2.2 * (math.cos(angle) * u + math.sin(angle) * v) + angle2),
            wave,
            np.tanh(3 * wave * np.sin(2 * math.pi * frequency * (math.cos(angle) * v - math.sin(angle) * u))),
            gaussian_filter(
                rng.standard_normal((side, side)), image_size * rng.uniform(0.05, 0.12), mode="wrap"
            ),
            gaussian_filter(
                rng.standard_normal((side, side)), image_size * rng.uniform(0.01, 0.025), mode="wrap"
            ),
        ]
    return [(255 * (field - field.min()) / np.ptp(field)).astype(np.uint8) for field in fields]


@lru_cache(maxsize=4)
def _noise(image_size: int) -> np.ndarray:
    """(2S,2S,3) uint8 in [0, 31), grey for the most part."""
    rng = np.random.default_rng(1)
    side = 2 * image_size
    return (rng.integers(0, 20, (side, side, 1)) + rng.integers(0, 12, (side, side, 3))).astype(np.uint8)


def background(rng: Random, image_size: int) -> np.ndarray:
    """(S,S,3) uint8: a texture between two muted colours, with noise. Its channels differ by less than those
    of any object's colour.
    """
    light = [70 + 110 * rng.random(), 0.0]
    light[1] = light[0] + (1 if light[0] < 125 else -1) * (20 + 40 * rng.random())
    ends = np.array([[value + 30 * rng.random() - 15 for _ in range(3)] for value in light])
    palette = (ends[0] + np.linspace(0, 1, 256)[:, None] * (ends[1] - ends[0])).astype(np.uint8)
    field, noise = pick(rng, _textures(image_size)), _noise(image_size)
    x, y, s, t = (int(rng.random() * image_size) for _ in range(4))
    return (
        palette[field[y : y + image_size, x : x + image_size]] + noise[t : t + image_size, s : s + image_size]
    )


def _attributes(
    rng: Random, earlier: list[tuple[str, str, str, str]], barred: frozenset[tuple[str, str]]
) -> tuple[str, str, str, str]:
    """Shape, colour, fill and size of the next object."""
    while True:
        shape, colour, fill, size = (pick(rng, options) for options in (SHAPES, COLOURS, FILLS, SIZES))
        if earlier:
            model, draw = pick(rng, earlier), rng.random() - SHARED["both"]
            if draw < SHARED["shape"]:
                shape = model[0]
            if draw < 0 or SHARED["shape"] <= draw < SHARED["shape"] + SHARED["colour"]:
                colour = model[1]
        if (shape, colour) not in barred:
            return shape, colour, fill, size


def _place(
    rng: Random, owner: np.ndarray, mask: np.ndarray, visible: list[int], needed: list[int]
) -> tuple[int, int, list[int]] | None:
    """A place (x, y) that leaves every earlier object what it needs, and what is then visible of each; None
    where none was found.

    ``owner`` (S,S) int8 holds the number of the object that is seen in each pixel, 0 for the background;
    ``visible`` and ``needed`` are pixel counts, of the background first.
    """
    image_size, (h, w) = len(owner), mask.shape
    for _ in range(TRIES):
        x, y = (int(_outwards(rng.random()) * (image_size - side + 1)) for side in (w, h))
        hidden = np.bincount(owner[y : y + h, x : x + w][mask], minlength=len(needed)).tolist()
        left = [seen - lost for seen, lost in zip(visible, hidden, strict=True)]
        if all(seen >= need for seen, need in zip(left, needed, strict=True)):
            return x, y, left
    return None


def _outwards(share: float) -> float:
    return (1 - EDGE_SEEKING) * share + EDGE_SEEKING * (0.5 - 0.5 * math.cos(math.pi * share))


def make_scene(
    seed: int,
    split: str,
    index: int,
    image_size: int = 64,
    objects: tuple[int, int] = (1, 5),
    holdout: bool = False,
) -> Scene:
    """The scene number ``index`` of a split.

    Args:
        seed, split, index: name the scene; splits (``SPLITS``) have disjoint random streams.
        image_size: side S in pixels, from 32 on; everything scales with it.
        objects: least and most number of objects, within 1 to 8.
        holdout: keep the pairs of shape and colour in ``HELD_OUT`` out of the split ``train``, to measure
            compositional generalisation.

    Raises:
        ValueError: an unknown split, an image too small, or an impossible number of objects.
    """
    least, most = objects
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: take one of {', '.join(SPLITS)}.")
    if image_size < 32 or not 1 <= least <= most <= MOST_OBJECTS:
        raise ValueError(
            f"A scene needs 32 pixels or more and 1 to {MOST_OBJECTS} objects, not {image_size} pixels and {least} to {most} objects."
        )
    rng = Random(
        f"{seed}/{split}/{index}"
    )  # Python hashes a text by sha512 here: a stream of its own for each scene, the same in every process
    barred = HELD_OUT if holdout and split == "train" else frozenset()

    image = background(rng, image_size)
    owner = np.zeros((image_size, image_size), np.int8)
    drawn: list[tuple[str, str, str, str]] = []
    areas: list[int] = []
    visible = [image_size**2]  # in pixels; what is visible of the background comes first
    for number in range(1, least + int(rng.random() * (most - least + 1)) + 1):
        shape, colour, fill, size = _attributes(rng, drawn, barred)
        needed = [
            0,
            *(
                seen if other[1] == colour else (area + 1) // 2
                for seen, area, other in zip(visible[1:], areas, drawn, strict=True)
            ),
        ]
        variant, place = int(rng.random() * VARIANTS), None
        while place is None:  # a small object finds room beside seven others, sooner or later
            brush = stamp(shape, fill, size, variant, image_size)
            place = _place(rng, owner, brush.mask, visible, needed)
            size = size if place else "small"
        x, y, visible = place
        h, w = brush.mask.shape
        behind, weights = image[y : y + h, x : x + w], brush.weights
        tint = np.array(
            [min(255, max(0, value + int(25 * rng.random()) - 12)) for value in RGB[colour]], np.uint16
        )
        behind[...] = (
            behind * weights[0] + tint * weights[1] + np.array(INK[fill], np.uint16) * weights[2]
        ) >> 8
        owner[y : y + h, x : x + w][brush.mask] = number
        drawn.append((shape, colour, fill, size))
        visible, areas = [*visible, brush.area], [*areas, brush.area]

    masks = owner == np.arange(1, len(drawn) + 1, dtype=np.int8)[:, None, None]
    things = [
        SceneObject(*words, box=_tight(mask), mask=mask, visible=seen / area)
        for words, mask, seen, area in zip(drawn, masks, visible[1:], areas, strict=True)
    ]
    captions, phrases = [], []
    for number in range(CAPTIONS):
        caption, found = make_caption(rng, things, image_size, number)
        captions.append(caption)
        phrases += found
    return Scene(image, things, captions, phrases)
