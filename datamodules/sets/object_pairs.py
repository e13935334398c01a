"""What sets of pairs have in common: two objects of an image are asked for together."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.kinds.grounding import GroundingSource


class ObjectPairSource(GroundingSource):
    """Images of another source with one query each, two of their objects joined by "and".

    Attributes:
        source: of the images.
        pairs: for each pair the index of its image in ``source``, and its objects.
    """

    source: GroundingSource
    pairs: list[tuple[int, Any]]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def number_of_queries(self) -> int:
        """One for each image."""
        return len(self.pairs)

    def key(self, index: int) -> str:
        """That of the image."""
        return self.source.key(self.pairs[index][0])

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return self.source.image(self.pairs[index][0])
