"""Scenes as a data set; that they are what they say is tested in test_scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.sets.scenes import Scenes, SceneSource
from datamodules.synthetic.scene_drawing import HELD_OUT, make_scene
from datamodules.synthetic.scene_objects import COLOURS, SHAPE_OF_NOUN


def test_a_phrase_is_asked_once_with_the_boxes_of_all_it_names() -> None:
    source = SceneSource(0, "test", 40, 48)
    several = 0
    for index in range(len(source)):
        scene = make_scene(0, "test", index, 48)
        queries = source.queries(index)
        assert [query.phrase for query in queries] == list(
            dict.fromkeys(mention.phrase.text for mention in scene.phrases)
        )
        for query in queries:
            assert query.fault(48, 48) is None
            assert query.mask is not None
            ys, xs = np.nonzero(query.mask)
            assert [xs.min(), ys.min()] == query.boxes[:, :2].min(0).tolist()
            assert [xs.max() + 1, ys.max() + 1] == query.boxes[:, 2:].max(0).tolist()
            several += len(query.boxes) > 1
    assert several > 10


def test_queries_of_the_same_things_share_a_chain() -> None:
    source = SceneSource(0, "test", 40, 48)
    for index in range(len(source)):
        boxes_of_chain: dict[str, set[str]] = {}
        for query in source.queries(index):
            boxes_of_chain.setdefault(query.chain, set()).add(str(query.boxes.tolist()))
        assert all(len(boxes) == 1 for boxes in boxes_of_chain.values())


def test_splits_and_worlds_differ() -> None:
    images = [
        SceneSource(seed, split, 2, 32).image(0).tobytes()
        for seed in (0, 1)
        for split in ("train", "val", "test")
    ]  # type: ignore[arg-type]
    assert len(set(images)) == 6


def test_held_out_pairs_are_only_in_the_test_split() -> None:
    data = Scenes(image_size=32, train_size=300, test_size=300, holdout=True)

    def held_out(source: SceneSource) -> int:
        return sum(
            (thing.shape, thing.colour) in HELD_OUT
            for index in range(300)
            for thing in source.scene(index).objects
        )

    source = data.evaluation_source("test")
    assert source is not None
    assert held_out(data.training_source()) == 0
    assert held_out(source) > 10


def test_sizes_and_what_is_too_small() -> None:
    data = Scenes(train_size=5, val_size=0, test_size=2)
    assert (len(data.training_source()), data.evaluation_source("val")) == (5, None)
    with pytest.raises(DataError, match=r"32 pixels or more, not 31: set --data.image_size"):
        Scenes(image_size=31)


def test_tags_and_shapes_are_those_of_the_objects() -> None:
    data = Scenes(image_size=32, train_size=0, test_size=12, judged=("phrases", "tags", "shapes"))
    sources: dict[str, Any] = data.evaluation_sources("test")
    assert list(sources) == ["scenes", "scenes_tags", "scenes_shapes"]
    assert data.evaluation_sources("val")
    tags = sources["scenes_tags"]
    shapes = sources["scenes_shapes"]
    for index in range(12):
        scene = make_scene(0, "test", index, 32)
        words = tags.words(index)
        assert " ".join(words) == scene.captions[0]
        visible = [word for word, tag in zip(words, tags.tags(index), strict=True) if tag]
        assert set(words) & set(COLOURS) <= set(visible)
        assert not {"a", "left", "small"} & set(visible)
        labels = shapes.labels(index)
        for word, region in zip(visible, tags.masks(index), strict=True):
            if word in SHAPE_OF_NOUN:
                assert (region == (labels == shapes.class_names.index(SHAPE_OF_NOUN[word]))).all()
            elif word in COLOURS:
                objects = [thing.mask for thing in scene.objects if thing.colour == word]
                assert (region == np.logical_or.reduce(objects)).all()
