"""Questions about procedural scenes: colour, shape, number, and which of two things is on which side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random

from datamodules.kinds.questions import Question, QuestionSource
from datamodules.sets.judged_scenes import JudgedScenes
from datamodules.synthetic.random_choices import pick
from datamodules.synthetic.scene_objects import (
    COLOURS,
    MIN_OFFSET,
    PLURALS,
    SHAPES,
    SceneObject,
)

ANSWERS = (*COLOURS, *SHAPES, "left", "right", *map(str, range(6)))


def questions_about(things: Sequence[SceneObject], rng: Random, image_size: int) -> list[tuple[str, str]]:
    """One question of each sort that can be asked of a scene, with its answer.

    Every thing that a question asks about is the only one of its shape, or of its colour.

    Args:
        things: all objects of the scene.
        rng: which of the possible questions are asked.
        image_size: side of the image in pixels.

    Example:
        >>> from datamodules.synthetic.scene_drawing import make_scene
        >>> scene = make_scene(seed=0, split="train", index=3)
        >>> questions_about(scene.objects, Random(0), image_size=64)[:2]
        [('what colour is the heart', 'blue'), ('what shape is the orange object', 'square')]
    """
    sorts = [
        list(_colour_questions(things)),
        list(_shape_questions(things)),
        list(_side_questions(things, image_size)),
    ]
    asked = [pick(rng, possible) for possible in sorts if possible]
    return [*asked, _count_question(things, rng)]


def _colour_questions(things: Sequence[SceneObject]) -> Iterator[tuple[str, str]]:
    for thing in _alone(things, "shape"):
        yield f"what colour is the {thing.shape}", thing.colour


def _shape_questions(things: Sequence[SceneObject]) -> Iterator[tuple[str, str]]:
    for thing in _alone(things, "colour"):
        yield f"what shape is the {thing.colour} object", thing.shape


def _side_questions(things: Sequence[SceneObject], image_size: int) -> Iterator[tuple[str, str]]:
    for pair in combinations(_alone(things, "shape"), 2):
        for thing, other in (pair, pair[::-1]):
            offset = (thing.box[0] + thing.box[2] - other.box[0] - other.box[2]) / (2 * image_size)
            if abs(offset) >= MIN_OFFSET:
                side = "left" if offset < 0 else "right"
                yield f"is the {thing.shape} left or right of the {other.shape}", side


def _count_question(things: Sequence[SceneObject], rng: Random) -> tuple[str, str]:
    """Of all objects, or of those of one shape that is there."""
    if rng.random() < 0.5:
        return "how many objects", str(len(things))
    shape = pick(rng, sorted({thing.shape for thing in things}))
    number = sum(thing.shape == shape for thing in things)
    return f"how many {PLURALS[shape]}", str(number)


def _alone(things: Sequence[SceneObject], attribute: str) -> list[SceneObject]:
    """Those whose value of an attribute no other thing has."""
    values = [getattr(thing, attribute) for thing in things]
    return [thing for thing, value in zip(things, values, strict=True) if values.count(value) == 1]


class SceneQuestionSource(JudgedScenes, QuestionSource):
    """All questions about some scenes, each with one answer.

    Args:
        scenes: the scenes.
    """

    def questions(self, index: int) -> list[Question]:
        """Of each sort one, where there is any; the same whenever it is asked."""
        return self.scenes.questions(index)
