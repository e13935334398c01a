"""What can be said of a procedural scene: a small English grammar whose every phrase and spatial relation is
true in the image.

A caption mentions one to three objects: ``a large striped red circle is to the left of a star``. A phrase is
    ``[determiner or number] [size] [fill]
[colour] noun``, and its ground truth is every object of the scene that its own words describe. Within one
caption no two phrases describe the same object, and a relation holds between *all* objects of its two
phrases, so that it is true under any reading.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeVar

import numpy as np

from datamodules.batches import Phrase

Box = tuple[int, int, int, int]
T = TypeVar("T")

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
FILLS = ("plain", "striped", "dotted")
SIZES = ("small", "medium", "large")

SYNONYMS = {"circle": "disc", "ring": "hoop"}
NOUNS = {shape: (shape, SYNONYMS.get(shape, shape)) for shape in SHAPES}
PLURALS = {noun: noun + ("es" if noun.endswith("s") else "s") for nouns in NOUNS.values() for noun in nouns}
SHAPE_OF_NOUN = {
    form: shape for shape, nouns in NOUNS.items() for noun in nouns for form in (noun, PLURALS[noun])
}

DETERMINERS = ("a", "an", "the")
NUMBERS = {2: "two", 3: "three"}
OPENINGS = (
    "",
    "",
    "there is",
    "here is",
    "a picture of",
    "a picture with",
    "an image of",
    "we see",
    "i can see",
)
RELATIONS = ("to the left of", "left of", "to the right of", "right of", "above", "below", "next to", "near")
GLUE = ("is", "are", "there", "and", "together", "with", ",", ".")

SAID = {
    "size": 0.25,
    "fill": 0.3,
    "colour": 0.8,
}  # how often each attribute is mentioned, in the order of English adjectives
DISCRIMINATE = 0.8  # share of the ambiguous phrases that are given more attributes
COUNT = 0.35  # share of the phrases left with two or three referents that count them
SYNONYM = 0.2
DEFINITE = 0.3
MENTIONS = (0.25, 0.55, 0.2)  # of one, two, three objects
RELATE = 0.85
FULL_STOP = 0.4

MARGIN, NEXT_TO, NEAR = (
    0.12,
    0.08,
    0.42,
)  # in image sides: least offset of a direction, most gap of boxes, most distance of centres


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


@dataclass(frozen=True, slots=True)
class ScenePhrase:
    """A phrase and the indices of *all* objects of the scene that its words describe, ascending and never
    empty.
    """

    phrase: Phrase
    objects: tuple[int, ...]


class _Mention(NamedTuple):
    text: str
    subject: str
    objects: tuple[int, ...]
    plural: bool


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options, uniformly. Built on ``random()`` alone, the only method whose stream Python
    promises to keep across versions.
    """
    return options[int(rng.random() * len(options))]


def shuffled(rng: Random, items: Iterable[T]) -> list[T]:
    """The items in random order; see :func:`pick` for why not ``Random.shuffle``."""
    return [
        item for _, _, item in sorted((rng.random(), position, item) for position, item in enumerate(items))
    ]


def describes(words: Iterable[str], thing: SceneObject) -> bool:
    """Whether every shape, colour, fill and size word among ``words`` is true of the object; other words say
    nothing.
    """
    for word in words:
        if word in SHAPE_OF_NOUN:
            if thing.shape != SHAPE_OF_NOUN[word]:
                return False
        elif (word in COLOURS or word in FILLS or word in SIZES) and word not in (
            thing.colour,
            thing.fill,
            thing.size,
        ):
            return False
    return True


def true_relations(a: Box, b: Box, image_size: int) -> set[str]:
    """The relations of :data:`RELATIONS` that box ``a`` has to box ``b``.

    A direction needs an offset of the centres of at least ``MARGIN`` image sides, along the axis of the
    larger offset. ``next to`` needs a gap of at most ``NEXT_TO`` between the boxes, ``near`` a distance of at
    most ``NEAR`` between their centres.
    """
    dx = (b[0] + b[2] - a[0] - a[2]) / (2 * image_size)
    dy = (b[1] + b[3] - a[1] - a[3]) / (2 * image_size)
    found = set()
    if abs(dx) >= max(MARGIN, abs(dy)):
        found |= {"to the left of", "left of"} if dx > 0 else {"to the right of", "right of"}
    if abs(dy) >= max(MARGIN, abs(dx)):
        found.add("above" if dy > 0 else "below")
    if max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) <= NEXT_TO * image_size:
        found.add("next to")
    if dx * dx + dy * dy <= NEAR * NEAR:
        found.add("near")
    return found


def _referents(things: Sequence[SceneObject], target: SceneObject, said: Collection[str]) -> tuple[int, ...]:
    return tuple(
        index
        for index, thing in enumerate(things)
        if thing.shape == target.shape
        and ("colour" not in said or thing.colour == target.colour)
        and ("fill" not in said or thing.fill == target.fill)
        and ("size" not in said or thing.size == target.size)
    )


def _mention(
    rng: Random, things: Sequence[SceneObject], target: SceneObject, taken: set[int], definite: bool
) -> _Mention | None:
    """A phrase for the target; None where its words cannot help describing an object that the caption has
    already ``taken``.
    """
    said = {name for name, share in SAID.items() if rng.random() < share}
    found = _referents(things, target, said)
    if len(found) > 1 and (not taken.isdisjoint(found) or rng.random() < DISCRIMINATE):
        for name in shuffled(rng, SAID):
            narrower = _referents(things, target, said | {name})
            if len(narrower) < len(found):
                said, found = said | {name}, narrower
    if not taken.isdisjoint(found):
        return None
    plural = len(found) in NUMBERS and rng.random() < COUNT
    noun = NOUNS[target.shape][rng.random() < SYNONYM]
    words = [getattr(target, name) for name in SAID if name in said] + [PLURALS[noun] if plural else noun]
    if plural:
        words.insert(0, NUMBERS[len(found)])
    elif definite and len(found) == 1:
        words.insert(0, "the")
    else:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    return _Mention(" ".join(words), words[-1], found, plural)


def _relation(
    rng: Random, things: Sequence[SceneObject], a: _Mention, b: _Mention, image_size: int
) -> str | None:
    """A relation that every object of ``a`` has to every object of ``b``, or None."""
    found = set.intersection(
        *(true_relations(things[i].box, things[j].box, image_size) for i in a.objects for j in b.objects)
    )
    return pick(rng, [relation for relation in RELATIONS if relation in found]) if found else None


def _arrange(
    rng: Random, mentions: Sequence[_Mention], relation: str | None, definite: bool
) -> list[str | _Mention]:
    """The sentence as a sequence of mentions and of words between them."""
    first, *others = mentions
    be = "are" if first.plural else "is"
    opening = "" if definite else pick(rng, OPENINGS).replace("is", be)
    if relation is None:
        tail: list[str | _Mention] = [part for middle in others[:-1] for part in (",", middle)]
        joint = "together with" if len(others) == 1 and rng.random() < 0.2 else "and"
        return [opening, first, *tail, *((joint, others[-1]) if others else ())]
    tail = [part for other in others[1:] for part in (", and", other)]
    if opening.startswith("there") and rng.random() < 0.5:
        return [relation, others[0], opening, first, *tail]
    return [
        opening,
        first,
        relation if opening or rng.random() < 0.3 else f"{be} {relation}",
        others[0],
        *tail,
    ]


def make_caption(
    rng: Random, things: Sequence[SceneObject], image_size: int, number: int = 0
) -> tuple[str, list[ScenePhrase]]:
    """A caption of lower-case words with blanks between its tokens, and its phrases in order.

    Args:
        rng: read on; the same state gives the same caption.
        things: all objects of the scene, at least one.
        image_size: side of the image in pixels, the unit of the relations.
        number: which of the image's captions this is, for :class:`Phrase`.
    """
    draw = rng.random()
    wanted = 1 + (draw >= MENTIONS[0]) + (draw >= MENTIONS[0] + MENTIONS[1])
    definite = rng.random() < DEFINITE
    mentions: list[_Mention] = []
    taken: set[int] = set()
    for target in shuffled(rng, things)[:wanted]:
        mention = _mention(rng, things, target, taken, definite)
        if mention is not None:
            mentions.append(mention)
            taken.update(mention.objects)
    relation = (
        _relation(rng, things, mentions[0], mentions[1], image_size)
        if len(mentions) > 1 and rng.random() < RELATE
        else None
    )

    tokens: list[str] = []
    phrases = []
    for part in _arrange(rng, mentions, relation, definite):
        start = len(tokens)
        if isinstance(part, str):
            tokens += part.split()
        else:
            tokens += part.text.split()
            phrases.append(
                ScenePhrase(Phrase(part.text, part.subject, start, len(tokens), number), part.objects)
            )
    if rng.random() < FULL_STOP:
        tokens.append(".")
    return " ".join(tokens), phrases


def vocabulary() -> list[str]:
    """Every token that a caption can hold, the comma and the full stop included, sorted."""
    fixed = [*COLOURS, *FILLS, *SIZES, *SHAPE_OF_NOUN, *DETERMINERS, *NUMBERS.values(), *GLUE]
    return sorted({*fixed, *" ".join((*OPENINGS, *RELATIONS)).split()})
