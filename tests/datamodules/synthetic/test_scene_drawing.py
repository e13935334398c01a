"""The scenes are what they say: every word, box and relation is checked against the pixels or against a
second reading of the caption.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from datamodules.synthetic.scene_backgrounds import background
from datamodules.synthetic.scene_drawing import HELD_OUT, RGB, SPLITS, Scene, make_scene
from datamodules.synthetic.scene_grammar import NUMBERS, vocabulary
from datamodules.synthetic.scene_objects import (
    COLOURS,
    FILLS,
    RELATIONS,
    SHAPE_OF_NOUN,
    SHAPES,
    SIZES,
    describes,
    true_relations,
)
from datamodules.synthetic.scene_shapes import VARIANTS, stamp

ROOT = Path(__file__).parents[3]
SIZE = 64


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [make_scene(7, SPLITS[index % 3], index) for index in range(900)]


def digest(scene: Scene, pixels: bool) -> str:
    text = repr((scene.captions, [thing.box for thing in scene.objects]))
    return hashlib.sha256(text.encode() + (scene.image.tobytes() if pixels else b"")).hexdigest()


def stated_relations(scene: Scene) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """(relation, objects of the first, objects of the second), read from the words that stand between or
    before two phrases.
    """
    relations = []
    for number, caption in enumerate(scene.captions):
        tokens = caption.split()
        phrases = [phrase for phrase in scene.phrases if phrase.phrase.caption == number]
        if len(phrases) < 2:
            continue
        first, second = phrases[:2]
        before = " ".join(tokens[: first.phrase.start])
        tokens_between = tokens[first.phrase.end : second.phrase.start]
        between = " ".join(token for token in tokens_between if token not in ("is", "are"))
        if before in RELATIONS:
            relations.append((before, second.objects, first.objects))
        elif between in RELATIONS:
            relations.append((between, first.objects, second.objects))
    return relations


def test_same_scene_in_another_process() -> None:
    code = (
        "from tests.datamodules.synthetic.test_scene_drawing import SPLITS, digest, make_scene\n"
        "print(*(digest(make_scene(5, split, 11), True) for split in SPLITS))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    digests = process.stdout.split()
    assert digests == [digest(make_scene(5, split, 11), True) for split in SPLITS]
    assert len(set(digests)) == 3


def test_golden_scene() -> None:
    golden = "be8a629172f9f4b9dee5a7f146809c931e1382407b4836bcafa65af0750daa4b"
    assert digest(make_scene(0, "train", 3), False) == golden


def test_order_of_generation_does_not_matter() -> None:
    forwards = [digest(make_scene(1, "val", index), True) for index in range(20)]
    backwards = [digest(make_scene(1, "val", index), True) for index in reversed(range(20))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 20


@pytest.mark.parametrize("image_size", [32, 64, 224])
def test_boxes_are_tight_around_disjoint_masks(image_size: int) -> None:
    for index in range(40):
        scene = make_scene(2, "train", index, image_size)
        assert scene.image.shape == (image_size, image_size, 3)
        assert scene.image.dtype == np.uint8
        assert np.sum([thing.mask for thing in scene.objects], axis=0).max() == 1
        for thing in scene.objects:
            ys, xs = np.nonzero(thing.mask)
            assert thing.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_objects_stay_half_visible_and_some_are_covered(many: list[Scene]) -> None:
    shares = []
    for thing in (thing for scene in many for thing in scene.objects):
        areas = [
            stamp(thing.shape, thing.fill, thing.size, variant, SIZE).area for variant in range(VARIANTS)
        ]
        whole = thing.mask.sum() / thing.visible
        assert min(abs(whole - area) for area in areas) < 1e-6
        shares.append(thing.visible)
    assert min(shares) >= 0.5
    assert 0.1 < np.mean(np.array(shares) < 1) < 0.4


def test_pixels_agree_with_the_attributes(many: list[Scene]) -> None:
    for scene in many[:300]:
        for thing in scene.objects:
            pixels = scene.image[thing.mask].astype(int)
            ink = (pixels.max(1) < 90) if thing.fill == "striped" else (pixels.min(1) > 190)
            assert thing.fill == "plain" or ink.any()
            if thing.fill == "plain":
                assert np.abs(np.median(pixels, axis=0) - RGB[thing.colour]).max() <= 13


def test_backgrounds_are_muted_and_differ() -> None:
    least_colourful = min(max(rgb) - min(rgb) for rgb in RGB.values())
    grounds = [background(Random(index), SIZE).astype(int) for index in range(100)]
    assert max(np.ptp(ground, axis=2).max() for ground in grounds) < least_colourful / 1.5
    assert len({ground.tobytes() for ground in grounds}) == 100
    assert min(ground.std() for ground in grounds) > 4


def test_spans_give_back_the_phrases(many: list[Scene]) -> None:
    for scene in many:
        assert len(scene.captions) == 5
        phrases = [phrase.phrase for phrase in scene.phrases]
        assert {phrase.caption for phrase in phrases} == set(range(5))
        for phrase in phrases:
            words = scene.captions[phrase.caption].split()[phrase.start : phrase.end]
            assert " ".join(words) == phrase.text
            assert phrase.subject in words
            assert phrase.subject in SHAPE_OF_NOUN
        assert all(caption == " ".join(caption.lower().split()) for caption in scene.captions)


def test_phrases_describe_their_objects_and_no_other(many: list[Scene]) -> None:
    for scene in many:
        for phrase in scene.phrases:
            words = phrase.phrase.text.split()
            described = []
            for index, thing in enumerate(scene.objects):
                contradicted = (
                    (set(words) & set(COLOURS)) - {thing.colour}
                    | (set(words) & set(FILLS)) - {thing.fill}
                    | (set(words) & set(SIZES)) - {thing.size}
                )
                if SHAPE_OF_NOUN[phrase.phrase.subject] == thing.shape and not contradicted:
                    described.append(index)
                assert describes(words, thing) == (index in phrase.objects)
            assert phrase.objects == tuple(described)
            number = {word: count for count, word in NUMBERS.items()}.get(words[0])
            assert number in (None, len(described))
            assert "the" not in words or len(described) == 1


def test_relations_are_true(many: list[Scene]) -> None:
    seen = set()
    for scene in many:
        for relation, first, second in stated_relations(scene):
            seen.add(relation)
            assert not set(first) & set(second)
            for a, b in ((scene.objects[i].box, scene.objects[j].box) for i in first for j in second):
                dx = (b[0] + b[2] - a[0] - a[2]) / 2
                dy = (b[1] + b[3] - a[1] - a[3]) / 2
                gap = max(max(a[0], b[0]) - min(a[2], b[2]), max(a[1], b[1]) - min(a[3], b[3]))
                assert {
                    "left": dx >= 7 and dx >= abs(dy),
                    "right": -dx >= 7 and -dx >= abs(dy),
                    "above": dy >= 7 and dy >= abs(dx),
                    "below": -dy >= 7 and -dy >= abs(dx),
                    "next": gap <= 6,
                    "near": math.hypot(dx, dy) <= 27,
                }[relation.removeprefix("to the ").split()[0]]
    assert seen == set(RELATIONS)


def test_true_relations_on_boxes() -> None:
    a = (0, 0, 10, 10)
    right = (60, 0, 70, 10)
    below = (0, 12, 10, 22)
    diagonal = (50, 50, 60, 60)
    assert true_relations(a, right, 100) == {"to the left of", "left of"}
    assert true_relations(right, a, 100) == {"to the right of", "right of"}
    assert true_relations(a, below, 100) == {"above", "next to", "near"}
    assert true_relations(below, a, 100) == {"below", "next to", "near"}
    assert true_relations(a, diagonal, 100) == {"to the left of", "left of", "above"}
    assert true_relations(a, a, 100) == {"next to", "near"}


def test_vocabulary_is_what_captions_use(many: list[Scene]) -> None:
    words = vocabulary()
    used = {word for scene in many for caption in scene.captions for word in caption.split()}
    assert words == sorted(set(words))
    assert used <= set(words)
    assert len(used) >= len(words) - 2  # rare plurals


def test_every_attribute_occurs_about_equally(many: list[Scene]) -> None:
    things = [thing for scene in many for thing in scene.objects]
    for name, words in (("shape", SHAPES), ("colour", COLOURS), ("fill", FILLS), ("size", SIZES)):
        counts = [sum(getattr(thing, name) == word for thing in things) for word in words]
        assert sum(counts) == len(things)
        assert min(counts) > 0.7 * len(things) / len(words)
    assert (len(SHAPES), len(COLOURS), len(FILLS), len(SIZES)) == (8, 8, 3, 3)


def test_statistics(many: list[Scene]) -> None:
    """Neither the whole image nor its centre is a good answer, and attributes are needed."""
    pairs = [(scene, phrase) for scene in many for phrase in scene.phrases]
    described = [scene.objects[index].box for scene, phrase in pairs for index in phrase.objects]
    boxes = np.array(described) / SIZE
    counts = np.array([len(phrase.objects) for _, phrase in pairs])
    numbered = [phrase.phrase.text.split()[0] in NUMBERS.values() for _, phrase in pairs]
    crowded = [scene.objects for scene in many if len(scene.objects) > 1]
    alike = [
        any(a.shape == b.shape or a.colour == b.colour for i, a in enumerate(things) for b in things[:i])
        for things in crowded
    ]
    assert 0.075 < np.mean((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) < 0.095
    assert 0.11 < np.mean(((boxes[:, :2] <= 0.5) & (boxes[:, 2:] > 0.5)).all(1)) < 0.18
    assert np.mean(alike) > 0.8
    assert 0.9 < np.mean(counts == 1) < 0.99
    assert 0 < np.mean(numbered) < 0.05
    assert {len(scene.objects) for scene in many} == {1, 2, 3, 4, 5}


def test_number_of_objects_can_be_chosen() -> None:
    assert {len(make_scene(0, "test", index, objects=(2, 3)).objects) for index in range(40)} == {2, 3}
    assert all(len(make_scene(0, "test", index, 32, objects=(8, 8)).objects) == 8 for index in range(40))


def test_holdout_keeps_pairs_from_training_only() -> None:
    def pairs(split: str) -> set[tuple[str, str]]:
        return {
            (thing.shape, thing.colour)
            for index in range(400)
            for thing in make_scene(0, split, index, holdout=True).objects
        }

    assert not pairs("train") & HELD_OUT
    assert pairs("test") >= HELD_OUT


@pytest.mark.parametrize(
    "arguments",
    [{"split": "tset"}, {"image_size": 16}, {"objects": (0, 3)}, {"objects": (3, 2)}, {"objects": (1, 9)}],
)
def test_impossible_scenes_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"split 'tset'|A scene needs"):
        make_scene(**{"seed": 0, "split": "train", "index": 0, **arguments})
