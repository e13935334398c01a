"""The objects of a procedural scene, and what is true of them: words that describe them, and the spatial
relations of their boxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
FILLS = ("plain", "striped", "dotted")
SIZES = ("small", "medium", "large")

SYNONYMS = {"circle": "disc", "ring": "hoop"}
NOUNS = {shape: (shape, SYNONYMS.get(shape, shape)) for shape in SHAPES}
_SHAPE_OF_SINGULAR = {noun: shape for shape, nouns in NOUNS.items() for noun in nouns}
PLURALS = {noun: noun + ("es" if noun.endswith("s") else "s") for noun in _SHAPE_OF_SINGULAR}
SHAPE_OF_NOUN = _SHAPE_OF_SINGULAR | {PLURALS[noun]: shape for noun, shape in _SHAPE_OF_SINGULAR.items()}

RELATIONS = ("to the left of", "left of", "to the right of", "right of", "above", "below", "next to", "near")
# In image sides.
MIN_OFFSET = 0.12  # of two centres, for a direction
MAX_GAP = 0.08  # between two boxes that are next to each other
MAX_DISTANCE = 0.42  # between the centres of two boxes that are near each other


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """One object as it is seen.

    Args:
        shape, colour, fill, size: words of ``SHAPES``, ``COLOURS``, ``FILLS``, ``SIZES``; the size is
            absolute, a share of the image's side.
        box: xyxy in pixels, 0-based, the maximum exclusive; tight around the visible pixels.
        mask: (S,S) bool, the visible pixels.
        visible: visible pixels over all pixels of the object, in [0.5, 1].
    """

    shape: str
    colour: str
    fill: str
    size: str
    box: Box
    mask: np.ndarray
    visible: float


def describes(words: Iterable[str], thing: SceneObject) -> bool:
    """Whether every shape, colour, fill and size word is true of an object; other words say nothing.

    Args:
        words: words of a phrase.
        thing: the object.
    """
    attributes = (thing.colour, thing.fill, thing.size)
    for word in words:
        if word in SHAPE_OF_NOUN:
            if thing.shape != SHAPE_OF_NOUN[word]:
                return False
        elif (word in COLOURS or word in FILLS or word in SIZES) and word not in attributes:
            return False
    return True


def true_relations(a: Box, b: Box, image_size: int) -> set[str]:
    """The relations that box ``a`` has to box ``b``.

    A direction needs an offset of the centres of at least ``MIN_OFFSET`` image sides, along the axis of the
    larger offset. ``next to`` needs a gap of at most ``MAX_GAP`` between the boxes, ``near`` a distance of at
    most ``MAX_DISTANCE`` between their centres.

    Args:
        a, b: xyxy in pixels.
        image_size: side of the image in pixels.

    Returns:
        Some of `RELATIONS`.

    Example:
        >>> sorted(true_relations((0, 0, 10, 10), (60, 0, 70, 10), image_size=100))
        ['left of', 'to the left of']
    """
    dx = (b[0] + b[2] - a[0] - a[2]) / (2 * image_size)
    dy = (b[1] + b[3] - a[1] - a[3]) / (2 * image_size)
    relations = set()
    if abs(dx) >= max(MIN_OFFSET, abs(dy)):
        side = "left" if dx > 0 else "right"
        relations |= {f"to the {side} of", f"{side} of"}
    if abs(dy) >= max(MIN_OFFSET, abs(dx)):
        relations.add("above" if dy > 0 else "below")
    if max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) <= MAX_GAP * image_size:
        relations.add("next to")
    if dx * dx + dy * dy <= MAX_DISTANCE * MAX_DISTANCE:
        relations.add("near")
    return relations
