"""Pairs of objects of procedural scenes, asked for together, as HIST does with RefCOCO+ (section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datamodules.kinds.grounding import Query
from datamodules.sets.object_pairs import ObjectPairSource

if TYPE_CHECKING:
    from datamodules.sets.scenes import SceneSource


class ScenePairSource(ObjectPairSource):
    """Scenes with one query each: "A and B", phrases that name one object each, with both boxes and the union
    of both masks. Scenes in which no two objects are named so are left out.

    Args:
        source: the scenes.
    """

    source: SceneSource

    def __init__(self, source: SceneSource) -> None:
        self.source = source
        pairs = {index: self._pair(index) for index in range(len(source))}
        self.pairs = [(index, pair) for index, pair in pairs.items() if pair is not None]
        self.left_out = {"no two objects that are named alone": len(source) - len(self.pairs)}

    def _pair(self, index: int) -> list[tuple[int, str]] | None:
        """Two objects of a scene with a phrase each, at random; the same whenever it is asked."""
        texts_of_object: dict[int, list[str]] = {}
        for query in self.source.queries(index):
            if "+" not in query.chain:
                texts_of_object.setdefault(int(query.chain), []).append(query.phrase)
        if len(texts_of_object) < 2:
            return None
        rng = np.random.default_rng([self.source.seed, index])
        drawn = rng.choice(sorted(texts_of_object), 2, replace=False).tolist()
        return [(thing, str(rng.choice(texts_of_object[thing]))) for thing in drawn]

    def queries(self, index: int) -> list[Query]:
        """The pair."""
        scene, pair = self.pairs[index]
        things = [self.source.scene(scene).objects[thing] for thing, _ in pair]
        boxes = np.array([thing.box for thing in things], dtype=np.float32)
        mask = np.logical_or.reduce([thing.mask for thing in things])
        key = f"{self.source.key(scene)}/{'+'.join(str(thing) for thing, _ in pair)}"
        return [Query(" and ".join(text for _, text in pair), boxes, key, key, mask)]
