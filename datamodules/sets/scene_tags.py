"""What else procedural scenes can be judged by: the words of a caption that are to be seen, and the shape in
every pixel.
"""

from __future__ import annotations

import numpy as np

from datamodules.kinds.segmentation import SegmentationSource
from datamodules.kinds.tags import TagSource
from datamodules.sets.judged_scenes import JudgedScenes
from datamodules.synthetic.scene_objects import COLOURS, FILLS, SHAPE_OF_NOUN, SHAPES, describes

# Sizes are no tags: what is "small" is a matter of comparison.
VISIBLE = frozenset({*SHAPE_OF_NOUN, *COLOURS, *FILLS})


class SceneTagSource(JudgedScenes, TagSource):
    """The first caption of every scene. Its tags are the words that name a shape, a colour or a fill; the
    region of a tag is that of every object of the scene that it describes.

    Args:
        scenes: the scenes.
    """

    def words(self, index: int) -> list[str]:
        """The caption's words."""
        return self.scenes.captions(index)[0].split()

    def tags(self, index: int) -> list[bool]:
        """For each word, whether it is a tag."""
        return [word in VISIBLE for word in self.words(index)]

    def masks(self, index: int) -> np.ndarray:
        """(T,S,S) bool, the region of each tag."""
        objects = self.scenes.scene(index).objects
        return np.stack(
            [
                np.logical_or.reduce([thing.mask for thing in objects if describes([word], thing)])
                for word in self.words(index)
                if word in VISIBLE
            ]
        )


class SceneShapeSource(JudgedScenes, SegmentationSource):
    """The shape of the object in every pixel, or background.

    Args:
        scenes: the scenes.
    """

    class_names = ("background", *SHAPES)

    def labels(self, index: int) -> np.ndarray:
        """(S,S) uint8."""
        labels = np.zeros(self.image(index).shape[:2], np.uint8)
        for thing in self.scenes.scene(index).objects:
            labels[thing.mask] = 1 + SHAPES.index(thing.shape)
        return labels
