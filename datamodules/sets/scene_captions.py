"""The captions of procedural scenes with the spans of their phrases: what a model of words can be trained and
judged on without any file.
"""

from __future__ import annotations

from datamodules.base import Split
from datamodules.kinds.spans import SpanSource
from datamodules.sets.judged_scenes import JudgedScenes
from datamodules.sets.scenes import Scenes


class SceneSpanSource(JudgedScenes, SpanSource):
    """The first caption of every scene, with the spans of its phrases."""

    def words(self, index: int) -> list[str]:
        """The caption's words."""
        return self.scenes.captions(index)[0].split()

    def spans(self, index: int) -> list[tuple[int, int]]:
        """(start, end) of each phrase over the words, the end exclusive."""
        phrases = self.scenes.phrases(index)
        return sorted((phrase.start, phrase.end) for phrase in phrases if phrase.caption == 0)


class SceneCaptions(Scenes):
    """As `Scenes`, but judged by the groups of its captions' words."""

    name = "scene_captions"

    def evaluation_source(self, split: Split) -> SceneSpanSource | None:  # type: ignore[override]
        """The captions of a split; None if it has none."""
        scenes = super().evaluation_source(split)
        return None if scenes is None else SceneSpanSource(scenes)
