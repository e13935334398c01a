"""The contract of encoders that bring images, their places and texts into one space.

CLIP is one (Radford et al. 2021, arXiv:2103.00020), and so is the dual encoder of this project. Methods that
need "a CLIP" are written against this contract alone.

Legend: N images, M texts, h x w places of an image, D numbers of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Places(NamedTuple):
    """What an encoder sees at the places of images.

    Args:
        vectors: (N,h,w,D), each of length 1.
        weights: (N,h,w), how much a place matters whatever the text; about 1 on average, 1 where an encoder
            has no such notion.
    """

    vectors: Tensor
    weights: Tensor


class ImageTextEncoder(nn.Module, ABC):
    """Base of encoders of images and texts.

    Images are ``(N,3,H,W)``, normalised by ``mean`` and ``std``, of any size that the encoder can take. All
    results are differentiable in the images unless the caller turns gradients off.

    Attributes:
        dim: D.
        image_size: the side of the square that the encoder was made for, in pixels.
        mean: of the pixels of red, green and blue, on a scale from 0 to 1.
        std: likewise.
        brings_weights: whether it has its final weights from the moment it is made, so that a checkpoint need
            not hold them.
    """

    brings_weights: bool = False
    dim: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """(N,D), a vector of length 1 for each image."""

    @abstractmethod
    def encode_places(self, images: Tensor) -> Places:
        """Vectors of the places of each image, in the space of the texts."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D), a vector of length 1 for each text; texts that are too long are cut."""

    @abstractmethod
    def relevance(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """How much each place speaks for a text.

        Args:
            images: N images.
            texts: N texts, one for each image.

        Returns:
            (N,h,w) in [0,1], without gradients, at the encoder's own grid or finer.
        """
