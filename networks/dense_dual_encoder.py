"""The dual encoder of photographs and phrases under the contract of dense encoders.

Legend: N images, M texts, D numbers of a vector, h x w places of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from networks.dense_encoder import DenseEncoder, Refine
from networks.dual_encoder import DualEncoder


class DenseDualEncoder(DenseEncoder):
    """A dual encoder whose places stand for pixels; its towers stay as they are.

    Args:
        encoder: the dual encoder, whose options say how masks and maps are made.
    """

    frozen_parts = ("encoder.image_towers", "encoder.text_tower")

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.brings_weights = encoder.brings_weights
        self.dim = encoder.dim
        self.stride = 1  # images of any size are taken as they are
        self.mean = encoder.mean
        self.std = encoder.std
        self.templates = "none"

    @property
    def feature_encoder(self) -> DualEncoder:
        """See `networks.dense_encoder.DenseEncoder`."""
        return self.encoder

    def encode_pixels(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,D,h,w), the vectors of places, of length 1."""
        return self.encoder.encode_places(images).vectors.permute(0, 3, 1, 2)

    def encode_training_images(self, images: Tensor, side: int) -> Tensor:
        """As `encode_pixels`, of images or of (N,F) features from `DualEncoder.flatten`."""
        features = self.encoder.features_or_stored(images, side)
        return self.encoder.encode_features(features).vectors.permute(0, 3, 1, 2)

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Texts as they are -> (M,D)."""
        return self.encoder.encode_texts(prompts)

    def soft_mask(self, similarity: Tensor) -> Tensor:
        """As `networks.dual_encoder.DualEncoder.soft_masks` turns cosines into shares."""
        maps = self.encoder.maps
        return torch.sigmoid(maps.mask_scale * (similarity - maps.mask_cosine))

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,D), the direction of the mean place, whose longer vectors count for more."""
        return self.encoder.encode_images(images)

    def padded_masks(self, images: Tensor, texts: Tensor, refine: Refine | None) -> Tensor:
        """The masks of `networks.dual_encoder.DualEncoder.soft_masks`, over all of its scales."""
        masks = self.encoder.soft_masks(images, texts)
        return masks if refine is None else refine(images, masks)

    def heatmaps(self, images: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Those of `networks.dual_encoder.DualEncoder.heatmaps`."""
        return self.encoder.heatmaps(images, texts, image_of_text)
