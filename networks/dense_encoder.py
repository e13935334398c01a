"""The contract of encoders that compare every pixel of an image with texts: MaskCLIP, TCL and the like.

Legend: N images, M texts, D numbers of a vector, h x w cells of the encoder's grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.dual_encoder import DualEncoder
from networks.layers.precision import full_precision
from networks.text_templates import Templates, fill, sentences

Refine = Callable[[Tensor, Tensor], Tensor]
"""Makes masks (N,M,h,w) follow the edges of their images (N,3,H,W), as `networks.pamr.pamr` does."""

PROMPTS_AT_ONCE = 256
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DenseEncoder(nn.Module, ABC):
    """Base of encoders that compare every pixel with texts.

    Attributes:
        dim: D.
        stride: pixels along a patch; images are padded to a multiple of it.
        mean: of the pixels of red, green and blue, on a scale from 0 to 1.
        std: likewise.
        templates: for the names of classes.
        normalise_each: whether the vectors of the filled templates have length 1 before their mean is taken.
        brings_weights: whether it has its final weights from the moment it is made, so that a checkpoint need
            not hold those that are not trained.
        frozen_parts: dotted names of the parts that are never trained.
    """

    brings_weights: bool = False
    frozen_parts: tuple[str, ...] = ()
    dim: int
    stride: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    templates: Templates = "imagenet"
    normalise_each: bool = True

    @property
    def feature_encoder(self) -> DualEncoder | None:
        """Whose frozen towers look at images, so that what they see can be stored, if there is one."""
        return None

    @abstractmethod
    def encode_pixels(self, images: Tensor) -> Tensor:
        """(N,3,H,W), sides multiples of ``stride`` -> (N,D,h,w), a vector of length 1 for each cell."""

    @abstractmethod
    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Texts as they are -> (M,D), of any length."""

    @abstractmethod
    def soft_mask(self, similarity: Tensor) -> Tensor:
        """Cosines of pixels and texts as shares in [0,1], of the same shape."""

    def encode_training_images(self, images: Tensor, side: int) -> Tensor:
        """As `encode_pixels`.

        Args:
            images: (N,3,H,W), or (N,F) features of ``feature_encoder``.
            side: of the square images that the latter were computed from, in pixels.
        """
        return self.encode_pixels(images)

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,3,H,W) of any size -> (N,D) of length 1, the direction of the mean over the pixels."""
        pixels = self.encode_pixels(pad_to_multiple(images, self.stride).images)
        return F.normalize(pixels.mean(dim=(2, 3)), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts as they are, without a template: tags and captions -> (M,D) of length 1."""
        return F.normalize(self._in_pieces(list(texts)), dim=-1)

    def encode_class_names(self, names: Sequence[str]) -> Tensor:
        """Names in all templates, averaged -> (M,D) of length 1."""
        vectors = self._in_pieces(fill(list(names), self.templates))
        if self.normalise_each:
            vectors = F.normalize(vectors, dim=-1)
        mean = vectors.unflatten(0, (len(names), len(sentences(self.templates)))).mean(dim=1)
        return F.normalize(mean, dim=-1)

    def masks(self, images: Tensor, texts: Tensor, refine: Refine | None = None) -> Tensor:
        """Where texts are, for images of any size.

        Args:
            images: (N,3,H,W), normalised.
            texts: (M,D) of length 1.
            refine: applied to the masks of padded images, if any.

        Returns:
            (N,M,h,w) in [0,1]; at the size of the images, where their sides are no multiples of ``stride``.
        """
        padded = pad_to_multiple(images, self.stride)
        masks = self.padded_masks(padded.images, texts, refine)
        return cut_padding(masks, padded, images.shape[-2:])

    def heatmaps(self, images: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Where each text is in the image that it belongs to; an image is encoded once for all of its texts.

        Args:
            images: (N,3,H,W), normalised.
            texts: M texts as they are.
            image_of_text: (M,) long, into the images.

        Returns:
            (M,h,w) in [0,1], as `masks`.
        """
        if not texts:
            return torch.zeros(0, *images.shape[-2:], device=images.device)
        vectors = self.encode_texts(texts)
        rows = [(image_of_text == image).nonzero()[:, 0] for image in range(len(images))]
        maps = [
            self.masks(image[None], vectors[own])[0]
            for image, own in zip(images, rows, strict=True)
            if len(own)
        ]
        return torch.cat(maps)[torch.cat(rows).argsort()]

    def padded_masks(self, images: Tensor, texts: Tensor, refine: Refine | None) -> Tensor:
        """`masks` of images whose sides are multiples of ``stride``."""
        soft = self.soft_mask(cosines(self.encode_pixels(images), texts))
        return soft if refine is None else refine(images, soft)

    def _in_pieces(self, prompts: list[str]) -> Tensor:
        pieces = [
            self.encode_prompts(prompts[start : start + PROMPTS_AT_ONCE])
            for start in range(0, len(prompts), PROMPTS_AT_ONCE)
        ]
        return full_precision(torch.cat(pieces))


def cosines(pixels: Tensor, texts: Tensor) -> Tensor:
    """(N,D,h,w) and (M,D), both of length 1 -> (N,M,h,w), in float32 at least.

    Example:
        >>> cosines(torch.ones(1, 1, 2, 2), -torch.ones(1, 1)).unique().tolist()
        [-1.0]
    """
    with torch.autocast(pixels.device.type, enabled=False):
        return torch.einsum("ndhw,md->nmhw", full_precision(pixels), full_precision(texts))


class Padded(NamedTuple):
    """Images within zeros.

    Args:
        images: (N,3,H,W).
        top: rows above each image.
        left: columns before it.
    """

    images: Tensor
    top: int
    left: int


def pad_to_multiple(images: Tensor, multiple: int) -> Padded:
    """Pads with zeros on all sides; an odd row or column stands below or to the right.

    Example:
        >>> padded = pad_to_multiple(torch.ones(1, 3, 15, 29), 16)
        >>> padded.images.shape, padded.top, padded.left
        (torch.Size([1, 3, 16, 32]), 0, 1)
    """
    height, width = images.shape[-2:]
    rows = -height % multiple
    columns = -width % multiple
    top = rows // 2
    left = columns // 2
    if rows == 0 and columns == 0:
        return Padded(images, 0, 0)
    return Padded(F.pad(images, (left, columns - left, top, rows - top)), top, left)


def cut_padding(masks: Tensor, padded: Padded, size: Sequence[int]) -> Tensor:
    """The part of masks that covers the images.

    Args:
        masks: (N,M,h,w) of padded images, at any grid.
        padded: these images.
        size: height and width of the images before.

    Returns:
        (N,M,h,w) as they are if nothing was padded; else (N,M,H,W) at the size of the images.
    """
    padded_size = padded.images.shape[-2:]
    height, width = size
    if padded_size == (height, width):
        return masks
    full = F.interpolate(masks, padded_size, mode="bilinear", align_corners=False)
    return full[:, :, padded.top : padded.top + height, padded.left : padded.left + width]
