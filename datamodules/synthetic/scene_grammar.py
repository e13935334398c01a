"""What can be said of a procedural scene: a small English grammar whose every phrase and spatial relation is
true in the image.

A caption mentions one to three objects: ``a large striped red circle is to the left of a star``. A phrase is
``[determiner or number] [size] [fill] [colour] noun``, and its ground truth is every object of the scene that
its own words describe. Within one caption no two phrases describe the same object, and a relation holds
between *all* objects of its two phrases, so that it is true under any reading.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from datamodules.batches import Phrase
from datamodules.synthetic.random_choices import pick, shuffled
from datamodules.synthetic.scene_objects import (
    COLOURS,
    FILLS,
    NOUNS,
    PLURALS,
    RELATIONS,
    SHAPE_OF_NOUN,
    SHAPES,
    SIZES,
    SceneObject,
    true_relations,
)

__all__ = [
    "COLOURS",
    "FILLS",
    "SHAPES",
    "SHAPE_OF_NOUN",
    "SIZES",
    "SceneObject",
    "ScenePhrase",
    "make_caption",
    "vocabulary",
]

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
CONNECTING_WORDS = ("is", "are", "there", "and", "together", "with", ",", ".")

# How often each attribute is mentioned, in the order of English adjectives.
ATTRIBUTE_RATES = {"size": 0.25, "fill": 0.3, "colour": 0.8}
DISAMBIGUATION_RATE = 0.8  # of the ambiguous phrases, which are then given more attributes
COUNT_RATE = 0.35  # of the phrases that describe two or three objects, which then say so
SYNONYM_RATE = 0.2
DEFINITE_RATE = 0.3
MENTION_RATES = (0.25, 0.55, 0.2)  # of one, two, three objects
RELATION_RATE = 0.85
FULL_STOP_RATE = 0.4


@dataclass(frozen=True, slots=True)
class ScenePhrase:
    """A phrase, and the indices of *all* objects of the scene that its words describe, ascending and never
    empty.
    """

    phrase: Phrase
    objects: tuple[int, ...]


class _Mention(NamedTuple):
    """A phrase before it has a place in a caption."""

    text: str
    subject: str
    objects: tuple[int, ...]
    plural: bool


def make_caption(
    rng: Random, things: Sequence[SceneObject], image_size: int, number: int = 0
) -> tuple[str, list[ScenePhrase]]:
    """Writes a caption of lower-case words, with blanks between its tokens.

    Args:
        rng: read on; the same state gives the same caption.
        things: all objects of the scene, at least one.
        image_size: side of the image in pixels, the unit of the relations.
        number: which of the image's captions this is, for `Phrase`.

    Returns:
        The caption, and its phrases in order.
    """
    draw = rng.random()
    count = 1 + (draw >= MENTION_RATES[0]) + (draw >= MENTION_RATES[0] + MENTION_RATES[1])
    definite = rng.random() < DEFINITE_RATE
    mentions = _mentions(rng, things, count, definite)
    relation = None
    if len(mentions) > 1 and rng.random() < RELATION_RATE:
        relation = _relation(rng, things, mentions[0], mentions[1], image_size)

    tokens: list[str] = []
    phrases = []
    for part in _arrange(rng, mentions, relation, definite):
        start = len(tokens)
        if isinstance(part, str):
            tokens += part.split()
        else:
            tokens += part.text.split()
            phrase = Phrase(part.text, part.subject, start, len(tokens), number)
            phrases.append(ScenePhrase(phrase, part.objects))
    if rng.random() < FULL_STOP_RATE:
        tokens.append(".")
    return " ".join(tokens), phrases


def _mentions(rng: Random, things: Sequence[SceneObject], count: int, definite: bool) -> list[_Mention]:
    """Phrases for up to ``count`` objects, none describing an object of another."""
    mentions: list[_Mention] = []
    taken: set[int] = set()
    for target in shuffled(rng, things)[:count]:
        mention = _mention(rng, things, target, taken, definite)
        if mention is not None:
            mentions.append(mention)
            taken.update(mention.objects)
    return mentions


def _mention(
    rng: Random, things: Sequence[SceneObject], target: SceneObject, taken: set[int], definite: bool
) -> _Mention | None:
    """A phrase for an object; None where its words cannot help describing an object that the caption has
    already mentioned.

    Args:
        things: all objects of the scene.
        target: the object.
        taken: indices of the objects that the caption has already mentioned.
        definite: whether the determiner is "the" where the phrase describes one object.
    """
    attributes = {name for name, rate in ATTRIBUTE_RATES.items() if rng.random() < rate}
    referents = _referents(things, target, attributes)
    ambiguous = len(referents) > 1
    if ambiguous and (not taken.isdisjoint(referents) or rng.random() < DISAMBIGUATION_RATE):
        for name in shuffled(rng, ATTRIBUTE_RATES):
            fewer = _referents(things, target, attributes | {name})
            if len(fewer) < len(referents):
                attributes = attributes | {name}
                referents = fewer
    if not taken.isdisjoint(referents):
        return None
    counted = len(referents) in NUMBERS and rng.random() < COUNT_RATE
    noun = NOUNS[target.shape][rng.random() < SYNONYM_RATE]
    words = [getattr(target, name) for name in ATTRIBUTE_RATES if name in attributes]
    words.append(PLURALS[noun] if counted else noun)
    if counted:
        determiner = NUMBERS[len(referents)]
    elif definite and len(referents) == 1:
        determiner = "the"
    elif words[0][0] in "aeiou":
        determiner = "an"
    else:
        determiner = "a"
    return _Mention(" ".join([determiner, *words]), words[-1], referents, counted)


def _referents(
    things: Sequence[SceneObject], target: SceneObject, attributes: Collection[str]
) -> tuple[int, ...]:
    """The objects that have the shape of the target, and its values of the attributes."""
    referents = []
    for index, thing in enumerate(things):
        if all(getattr(thing, name) == getattr(target, name) for name in ("shape", *attributes)):
            referents.append(index)
    return tuple(referents)


def _relation(
    rng: Random, things: Sequence[SceneObject], a: _Mention, b: _Mention, image_size: int
) -> str | None:
    """A relation that every object of ``a`` has to every object of ``b``, or None."""
    relations = set(RELATIONS)
    for i in a.objects:
        for j in b.objects:
            relations &= true_relations(things[i].box, things[j].box, image_size)
    if not relations:
        return None
    return pick(rng, [relation for relation in RELATIONS if relation in relations])


def _arrange(
    rng: Random, mentions: Sequence[_Mention], relation: str | None, definite: bool
) -> list[str | _Mention]:
    """The sentence as a sequence of mentions and of words between them."""
    first, *others = mentions
    verb = "are" if first.plural else "is"
    opening = "" if definite else pick(rng, OPENINGS).replace("is", verb)
    if relation is None:
        return [opening, first, *_list_others(rng, others)]
    tail: list[str | _Mention] = []
    for other in others[1:]:
        tail += [", and", other]
    if opening.startswith("there") and rng.random() < 0.5:
        return [relation, others[0], opening, first, *tail]
    if not opening and rng.random() >= 0.3:
        relation = f"{verb} {relation}"
    return [opening, first, relation, others[0], *tail]


def _list_others(rng: Random, others: Sequence[_Mention]) -> list[str | _Mention]:
    """The mentions behind the first one of a sentence without a relation."""
    if not others:
        return []
    parts: list[str | _Mention] = []
    for other in others[:-1]:
        parts += [",", other]
    conjunction = "and"
    if len(others) == 1 and rng.random() < 0.2:
        conjunction = "together with"
    return [*parts, conjunction, others[-1]]


def vocabulary() -> list[str]:
    """Every token that a caption can hold, the comma and the full stop included, sorted."""
    words = {*COLOURS, *FILLS, *SIZES, *SHAPE_OF_NOUN, *DETERMINERS, *NUMBERS.values(), *CONNECTING_WORDS}
    for words_together in (*OPENINGS, *RELATIONS):
        words.update(words_together.split())
    return sorted(words)
