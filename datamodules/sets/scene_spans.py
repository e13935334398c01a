"""The captions of made scenes with the spans of their phrases: what a model of words can be trained and
judged on without any file.
"""

from __future__ import annotations

from datamodules.base import Split
from datamodules.kinds.spans import SpanSource
from datamodules.sets.scenes import Scenes, SceneSource


class SceneSpanSource(SpanSource):
    """The first caption of every scene."""

    def __init__(self, scenes: SceneSource) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def key(self, index: int) -> str:
        return self.scenes.key(index)

    def words(self, index: int) -> list[str]:
        return self.scenes.captions(index)[0].split()

    def spans(self, index: int) -> list[tuple[int, int]]:
        return sorted(
            (phrase.start, phrase.end) for phrase in self.scenes.phrases(index) if phrase.caption == 0
        )


class SceneSpans(Scenes):
    """As `Scenes`, but judged by the groups of its words."""

    name = "scene_spans"

    def evaluation_source(self, split: Split) -> SceneSpanSource | None:  # type: ignore[override]
        scenes = super().evaluation_source(split)
        return None if scenes is None else SceneSpanSource(scenes)
