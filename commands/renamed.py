"""Names that changed, so that an old one is answered with one sentence that gives the new one."""

from __future__ import annotations

RENAMED_CLASSES = {"SceneSpans": "SceneCaptions"}
