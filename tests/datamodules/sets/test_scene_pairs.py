from __future__ import annotations

import numpy as np

from datamodules.sets.scene_pairs import ScenePairSource
from datamodules.sets.scenes import Scenes, SceneSource


def test_a_pair_is_two_objects_that_are_named_alone() -> None:
    scenes = SceneSource(0, "test", 60, 48)
    pairs = ScenePairSource(scenes)
    assert 10 < len(pairs) < 60
    assert len(pairs) + sum(pairs.left_out.values()) == 60
    for index in range(len(pairs)):
        (query,) = pairs.queries(index)
        scene, _ = pairs.pairs[index]
        parts = {one.phrase: one for one in scenes.queries(scene)}
        first, second = (parts[text] for text in query.phrase.split(" and ") if text in parts)
        assert first.chain != second.chain
        assert np.array_equal(query.mask, first.mask | second.mask)
        assert query.boxes.tolist() == [*first.boxes.tolist(), *second.boxes.tolist()]
        assert np.array_equal(pairs.image(index), scenes.image(scene))


def test_pairs_do_not_depend_on_how_many_scenes_there_are() -> None:
    few, many = (ScenePairSource(SceneSource(0, "test", size, 48)) for size in (20, 40))
    assert many.pairs[: len(few)] == few.pairs


def test_scenes_are_judged_in_the_ways_that_are_asked_for() -> None:
    data = Scenes(image_size=32, test_size=20, judged=("phrases", "pairs"))
    assert set(data.evaluation_sources("test")) == {"scenes", "scenes_pairs"}
