"""Procedural scenes as a data set: endless, exact, and without files. See
`datamodules.synthetic.scene_drawing` for how they are made.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.batches import Phrase
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.synthetic.scene_drawing import Scene, make_scene


class SceneSource(CaptionSource, GroundingSource):
    """``size`` scenes of a split. A phrase's boxes are those of every object of the scene that its words
    describe.
    """

    def __init__(self, seed: int, split: Split, size: int, image_size: int, holdout: bool = False) -> None:
        self.seed, self.split, self.size, self.image_size, self.holdout = (
            seed,
            split,
            size,
            image_size,
            holdout,
        )
        self.scene = lru_cache(maxsize=2)(
            self._make
        )  # image, captions and queries of one scene are asked for one after the other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "scene"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.scene = lru_cache(maxsize=2)(self._make)

    def _make(self, index: int) -> Scene:
        return make_scene(self.seed, self.split, index, self.image_size, holdout=self.holdout)

    def __len__(self) -> int:
        return self.size

    def key(self, index: int) -> str:
        return f"{self.split}-{index}"

    def image(self, index: int) -> np.ndarray:
        return self.scene(index).image

    def captions(self, index: int) -> list[str]:
        return self.scene(index).captions

    def phrases(self, index: int) -> list[Phrase]:
        return [found.phrase for found in self.scene(index).phrases]

    def queries(self, index: int) -> list[Query]:
        """Every distinct phrase of the scene once, with boxes and the union of its objects' masks."""
        scene = self.scene(index)
        distinct = {found.phrase.text: found.objects for found in scene.phrases}
        return [
            Query(
                text,
                np.array([scene.objects[o].box for o in objects], dtype=np.float32),
                f"{self.key(index)}/{number}",
                "+".join(map(str, objects)),
                np.logical_or.reduce([scene.objects[o].mask for o in objects]),
            )
            for number, (text, objects) in enumerate(distinct.items())
        ]


class Scenes(GroundingDataModule):
    """Procedural scenes.

    Args:
        image_size: side of the drawn image in pixels, from 32 on.
        train_size, val_size, test_size: number of scenes of each split.
        scene_seed: names the world from which all three splits are drawn.
        holdout: keep some pairs of shape and colour out of the training split, to measure compositional
            generalisation.
        kwargs: as for `GroundingDataModule`.
    """

    name = "scenes"

    def __init__(
        self,
        image_size: int = 64,
        train_size: int = 20_000,
        val_size: int = 500,
        test_size: int = 2_000,
        scene_seed: int = 0,
        holdout: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 32:
            raise DataError(f"a scene needs 32 pixels or more, not {image_size}: set --data.image_size.")
        self.image_size, self.scene_seed, self.holdout = image_size, scene_seed, holdout
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def caption_source(self) -> SceneSource:
        return SceneSource(self.scene_seed, "train", self.sizes["train"], self.image_size, self.holdout)

    def evaluation_source(self, split: Split) -> SceneSource | None:
        return (
            SceneSource(self.scene_seed, split, self.sizes[split], self.image_size, self.holdout)
            if self.sizes[split]
            else None
        )
