"""Procedural scenes as a data set: endless, exact, and without files. See
`datamodules.synthetic.scene_drawing` for how they are made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, Literal

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import Phrase
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.boxed_phrases import BoxedSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import Query
from datamodules.kinds.questions import Question, QuestionTrainingSource
from datamodules.sets.retrieval import CaptionRetrieval
from datamodules.sets.scene_pairs import ScenePairSource
from datamodules.sets.scene_questions import SceneQuestionSource, questions_about
from datamodules.sets.scene_tags import SceneShapeSource, SceneTagSource
from datamodules.synthetic.scene_drawing import Scene, make_scene


class SceneSource(CaptionSource, BoxedSource, QuestionTrainingSource):
    """Scenes of a split. A phrase's boxes are those of every object of the scene that its words describe.

    Args:
        seed: names the world from which all splits are drawn.
        split: of the three.
        size: number of scenes.
        image_size: side of the drawn image in pixels.
        holdout: as for `Scenes`.
    """

    def __init__(self, seed: int, split: Split, size: int, image_size: int, holdout: bool = False) -> None:
        self.seed = seed
        self.split = split
        self.size = size
        self.image_size = image_size
        self.holdout = holdout
        self._remember_scenes()

    def _remember_scenes(self) -> None:
        # Image, captions and queries of one scene are asked for one after the other.
        self.scene = lru_cache(maxsize=2)(self._make)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "scene"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember_scenes()

    def _make(self, index: int) -> Scene:
        return make_scene(self.seed, self.split, index, self.image_size, holdout=self.holdout)

    def __len__(self) -> int:
        return self.size

    def key(self, index: int) -> str:
        """The split and the number of the scene."""
        return f"{self.split}-{index}"

    def image(self, index: int) -> np.ndarray:
        """(S,S,3) uint8 RGB."""
        return self.scene(index).image

    def captions(self, index: int) -> list[str]:
        """What the scene shows, in several sentences."""
        return self.scene(index).captions

    def phrases(self, index: int) -> list[Phrase]:
        """The phrases of all captions."""
        return [mention.phrase for mention in self.scene(index).phrases]

    def questions(self, index: int) -> list[Question]:
        """Questions about the scene, each with one answer; the same whenever it is asked."""
        rng = Random(f"{self.seed}/{self.key(index)}/questions")
        asked = questions_about(self.scene(index).objects, rng, self.image_size)
        return [
            Question(text, {answer: 1.0}, f"{self.key(index)}/{number}")
            for number, (text, answer) in enumerate(asked)
        ]

    def queries(self, index: int) -> list[Query]:
        """Every distinct phrase of the scene once, with boxes and the union of its objects' masks."""
        scene = self.scene(index)
        objects_of_text = {mention.phrase.text: mention.objects for mention in scene.phrases}
        queries = []
        for number, (text, places) in enumerate(objects_of_text.items()):
            boxes = np.array([scene.objects[place].box for place in places], dtype=np.float32)
            mask = np.logical_or.reduce([scene.objects[place].mask for place in places])
            chain = "+".join(map(str, places))
            queries.append(Query(text, boxes, f"{self.key(index)}/{number}", chain, mask))
        return queries


class Scenes(GroundingDataModule):
    """Procedural scenes.

    Args:
        image_size: side of the drawn image in pixels, from 32 on.
        train_size, val_size, test_size: number of scenes of each split.
        scene_seed: names the world from which all three splits are drawn.
        holdout: keep some pairs of shape and colour out of the training split, to measure compositional
            generalisation.
        judged: what a split is judged by: where ``phrases`` are (called scenes), which words of a caption are
            ``tags`` and where (scenes_tags), the ``shapes`` in all pixels (scenes_shapes), where two objects
            are that are asked for together, in ``pairs`` (scenes_pairs), which of all ``captions`` are of
            which scene (scenes_captions), and by answers to ``questions`` (scenes_questions).
        kwargs: as for `GroundingDataModule`.
    """

    name = "scenes"
    layout = None

    def __init__(
        self,
        image_size: int = 64,
        train_size: int = 20_000,
        val_size: int = 500,
        test_size: int = 2_000,
        scene_seed: int = 0,
        holdout: bool = False,
        judged: tuple[Literal["phrases", "tags", "shapes", "pairs", "captions", "questions"], ...] = (
            "phrases",
        ),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 32:
            raise DataError(f"a scene needs 32 pixels or more, not {image_size}: set --data.image_size.")
        if min(train_size, val_size, test_size) < 0:
            raise DataError("train_size, val_size and test_size must not be negative.")
        self.image_size = image_size
        self.scene_seed = scene_seed
        self.holdout = holdout
        self.judged = judged
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def _source(self, split: Split) -> SceneSource:
        return SceneSource(self.scene_seed, split, self.sizes[split], self.image_size, self.holdout)

    def training_source(self) -> SceneSource:
        """The scenes of the training split."""
        return self._source("train")

    def evaluation_source(self, split: Split) -> SceneSource | None:
        """The scenes of a split; None if it has none."""
        return self._source(split) if self.sizes[split] else None

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """A set for each way to judge the scenes of a split; none if it has no scenes."""
        sources = super().evaluation_sources(split)
        scenes = sources.get(self.name)
        if not isinstance(scenes, SceneSource):
            return sources
        others: dict[str, Callable[[SceneSource], Source]] = {
            "tags": SceneTagSource,
            "shapes": SceneShapeSource,
            "pairs": ScenePairSource,
            "captions": CaptionRetrieval,
            "questions": SceneQuestionSource,
        }
        judged: dict[str, Source] = {}
        for way in self.judged:
            if way == "phrases":
                judged[self.name] = scenes
            else:
                judged[f"{self.name}_{way}"] = others[way](scenes)
        return judged
