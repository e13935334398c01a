"""What all sources share that judge something in every one of some procedural scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datamodules.sets.scenes import SceneSource


class JudgedScenes:
    """The images of some scenes.

    Args:
        scenes: the scenes.
    """

    def __init__(self, scenes: SceneSource) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def key(self, index: int) -> str:
        """The split and the number of the scene."""
        return self.scenes.key(index)

    def image(self, index: int) -> np.ndarray:
        """(S,S,3) uint8 RGB."""
        return self.scenes.image(index)
