"""Procedural scenes of coloured shapes with true captions, boxes and masks: a data set without files, for
tests, demonstrations and quick studies.

A scene is a pure function of its name (seed, split, index), the same in every process. It holds 1 to 5
objects that may partly cover each other (never one of their own colour) on a muted, textured, noisy
background; objects often share a shape or a colour, so that attributes matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np

from datamodules.synthetic.random_choices import pick
from datamodules.synthetic.scene_backgrounds import background
from datamodules.synthetic.scene_grammar import ScenePhrase, make_caption, vocabulary
from datamodules.synthetic.scene_objects import COLOURS, FILLS, SHAPES, SIZES, SceneObject
from datamodules.synthetic.scene_shapes import VARIANTS, Stamp, stamp, tight_box

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
MIN_SIDE = 32
MAX_OBJECTS = 8

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
INK = {"plain": (0, 0, 0), "striped": (25, 20, 30), "dotted": (250, 250, 245)}  # colour of a fill's pattern
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

# How often an object takes its shape, its colour or both from an earlier one.
SHARED = {"shape": 0.3, "colour": 0.3, "both": 0.1}
# 0: positions are uniform; 1: their density is that of an arcsine law, so that the centre is no good guess.
EDGE_SEEKING = 0.25
TRIES = 40  # to place an object


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


class _Words(NamedTuple):
    """What an object looks like, in words of ``SHAPES``, ``COLOURS``, ``FILLS`` and ``SIZES``."""

    shape: str
    colour: str
    fill: str
    size: str


class _Place(NamedTuple):
    """The upper left corner of an object, and the pixels that are then visible of each earlier one."""

    x: int
    y: int
    visible: list[int]


def make_scene(
    seed: int,
    split: str,
    index: int,
    image_size: int = 64,
    objects: tuple[int, int] = (1, 5),
    holdout: bool = False,
) -> Scene:
    """Draws the scene number ``index`` of a split, and writes its captions.

    Args:
        seed, split, index: name the scene; splits (``SPLITS``) have disjoint random streams.
        image_size: side S in pixels, from 32 on; everything scales with it.
        objects: least and most number of objects, within 1 to 8.
        holdout: keep the pairs of shape and colour in ``HELD_OUT`` out of the split ``train``, to measure
            compositional generalisation.

    Raises:
        ValueError: an unknown split, an image too small, or an impossible number of objects.

    Example:
        >>> scene = make_scene(seed=0, split="train", index=3)
        >>> scene.captions[0]
        'the purple square left of the striped blue heart'
        >>> scene.phrases[0].phrase.text, [scene.objects[i].box for i in scene.phrases[0].objects]
        ('the purple square', [(18, 47, 31, 60)])
    """
    least, most = objects
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: take one of {', '.join(SPLITS)}.")
    if image_size < MIN_SIDE or not 1 <= least <= most <= MAX_OBJECTS:
        raise ValueError(
            f"A scene needs {MIN_SIDE} pixels or more and 1 to {MAX_OBJECTS} objects, "
            f"not {image_size} pixels and {least} to {most} objects."
        )
    # Python hashes a text by sha512 here: a stream of its own for each scene, the same in every process.
    rng = Random(f"{seed}/{split}/{index}")
    excluded = HELD_OUT if holdout and split == "train" else frozenset()
    canvas = _Canvas(background(rng, image_size))
    for _ in range(least + int(rng.random() * (most - least + 1))):
        canvas.add_object(rng, excluded)
    things = canvas.objects()
    captions = []
    phrases = []
    for number in range(CAPTIONS):
        caption, caption_phrases = make_caption(rng, things, image_size, number)
        captions.append(caption)
        phrases += caption_phrases
    return Scene(canvas.image, things, captions, phrases)


class _Canvas:
    """A scene while it is drawn.

    Args:
        image: (S,S,3) uint8, the background, which is drawn upon.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.size = len(image)
        # (S,S), the number of the object that is seen in each pixel, 0 for the background.
        self.owner = np.zeros((self.size, self.size), np.int8)
        self.words: list[_Words] = []  # of the objects, in the order in which they were drawn
        self.areas: list[int] = []  # in pixels, covered ones included
        self.visible = [self.size**2]  # in pixels, of the background first, then of each object

    def add_object(self, rng: Random, excluded: frozenset[tuple[str, str]]) -> None:
        """Draws one more object, with a shape and a colour that are not excluded."""
        words = _next_words(rng, self.words, excluded)
        needed = self._needed_pixels(words.colour)
        variant = int(rng.random() * VARIANTS)
        place = None
        while place is None:  # a small object finds room beside seven others, sooner or later
            brush = stamp(words.shape, words.fill, words.size, variant, self.size)
            place = self._find_place(rng, brush.mask, needed)
            if place is None:
                words = words._replace(size="small")
        self._draw(rng, words, brush, place)
        self.words.append(words)
        self.areas.append(brush.area)
        self.visible = [*place.visible, brush.area]

    def _needed_pixels(self, colour: str) -> list[int]:
        """How many pixels must stay visible of the background and of each object beside one of a colour.

        Of an object of the same colour all that is visible, of another half of its area, of the background
        none.
        """
        needed = [0]
        for seen, area, other in zip(self.visible[1:], self.areas, self.words, strict=True):
            needed.append(seen if other.colour == colour else (area + 1) // 2)
        return needed

    def _find_place(self, rng: Random, mask: np.ndarray, needed: list[int]) -> _Place | None:
        """A place that leaves every earlier object what it needs; None where none was found."""
        height, width = mask.shape
        for _ in range(TRIES):
            x = int(_outwards(rng.random()) * (self.size - width + 1))
            y = int(_outwards(rng.random()) * (self.size - height + 1))
            hidden = np.bincount(self.owner[y : y + height, x : x + width][mask], minlength=len(needed))
            left = [seen - lost for seen, lost in zip(self.visible, hidden.tolist(), strict=True)]
            if all(seen >= need for seen, need in zip(left, needed, strict=True)):
                return _Place(x, y, left)
        return None

    def _draw(self, rng: Random, words: _Words, brush: Stamp, place: _Place) -> None:
        """Blends an object into the image."""
        height, width = brush.mask.shape
        rows = slice(place.y, place.y + height)
        columns = slice(place.x, place.x + width)
        behind = self.image[rows, columns]
        tint = [min(255, max(0, value + int(25 * rng.random()) - 12)) for value in RGB[words.colour]]
        colour = np.array(tint, np.uint16)
        ink = np.array(INK[words.fill], np.uint16)
        weights = brush.weights
        behind[...] = (behind * weights[0] + colour * weights[1] + ink * weights[2]) >> 8
        self.owner[rows, columns][brush.mask] = len(self.words) + 1

    def objects(self) -> list[SceneObject]:
        """The objects as they are seen, in the order in which they were drawn."""
        numbers = np.arange(1, len(self.words) + 1, dtype=np.int8)
        masks = self.owner == numbers[:, None, None]
        return [
            SceneObject(*words, box=tight_box(mask), mask=mask, visible=seen / area)
            for words, mask, seen, area in zip(self.words, masks, self.visible[1:], self.areas, strict=True)
        ]


def _next_words(rng: Random, earlier: list[_Words], excluded: frozenset[tuple[str, str]]) -> _Words:
    """Words of the next object, which often shares some with an earlier one."""
    while True:
        words = _Words(*(pick(rng, options) for options in (SHAPES, COLOURS, FILLS, SIZES)))
        if earlier:
            model = pick(rng, earlier)
            draw = rng.random() - SHARED["both"]
            if draw < SHARED["shape"]:
                words = words._replace(shape=model.shape)
            if draw < 0 or SHARED["shape"] <= draw < SHARED["shape"] + SHARED["colour"]:
                words = words._replace(colour=model.colour)
        if (words.shape, words.colour) not in excluded:
            return words


def _outwards(share: float) -> float:
    """Moves a position in [0, 1] towards its nearer end, as far as `EDGE_SEEKING` says."""
    return (1 - EDGE_SEEKING) * share + EDGE_SEEKING * (0.5 - 0.5 * math.cos(math.pi * share))
