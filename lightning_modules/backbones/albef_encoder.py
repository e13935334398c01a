"""ALBEF as an encoder of images, their places and texts, for methods that want "a CLIP"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.backbones.albef import ALBEFBackbone
from networks.albef import ALBEF
from networks.image_text_encoder import ImageTextEncoder, Places
from networks.layers.precision import full_precision


class ALBEFEncoder(ImageTextEncoder):
    """The contrastive heads of ALBEF, and the class activation maps of its cross-attention.

    Args:
        backbone: the network and how it is used.
    """

    optional_weights = ALBEF.optional_weights

    def __init__(self, backbone: ALBEFBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.network = backbone.network
        self.dim = self.network.vision_proj.out_features
        self.image_size = backbone.preprocessing.image_size
        self.mean = backbone.preprocessing.mean
        self.std = backbone.preprocessing.std

    def encode_images(self, images: Tensor) -> Tensor:
        """(N,3,S,S) -> (N,D). See `ImageTextEncoder.encode_images`."""
        return self.network.image_feature(self.network.encode_image(images))

    def encode_places(self, images: Tensor) -> Places:
        """The projected patch tokens (N,h,w,D), which no loss of ALBEF compares with texts; weights of 1."""
        patches = self.network.encode_image(images)[:, 1:]
        vectors = F.normalize(full_precision(self.network.vision_proj(patches)), dim=-1)
        vectors = vectors.unflatten(1, self.network.grid)
        return Places(vectors, torch.ones_like(vectors[..., 0]))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(M,D). See `ImageTextEncoder.encode_texts`."""
        return self.backbone.full_text_features(texts)

    def relevance(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Class activation maps (N,h,w) of the matching head. See `ImageTextEncoder.relevance`."""
        with torch.no_grad():
            return self.backbone.heatmaps(images, texts, torch.arange(len(texts), device=images.device))

    def adapt_state_dict(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint of any public layout of ALBEF, under this module's names."""
        adapted = self.network.adapt_state_dict(state)
        return {f"network.{name}": tensor for name, tensor in adapted.items()}
