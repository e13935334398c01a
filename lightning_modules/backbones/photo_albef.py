"""ALBEF on a dual encoder of photographs, as a backbone."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from datamodules.batches import Interpolation
from datamodules.handover import FeatureSpec
from lightning_modules.backbones.albef import AlignBeforeFuseBackbone
from lightning_modules.backbones.options import ImageOptions
from lightning_modules.stored_features import feature_spec
from networks.dual_encoder import DualEncoder
from networks.layers.momentum_contrast import ContrastSize
from networks.photo_albef import FusionOptions, PhotoALBEF


class PhotoALBEFBackbone(AlignBeforeFuseBackbone):
    """ALBEF whose image tokens and text layers come from a dual encoder, with that encoder's vocabulary.

    Args:
        encoder: the dual encoder, e.g. `lightning_modules.backbones.photo_encoder.PhotoEncoder` with a head.
            It stays as it is.
        fusion: the trained layers, and how they start.
        contrast: of the contrastive part.
        training_size: side of training images, in pixels.
        interpolation: of images, see `datamodules.batches.Preprocessing`.
        mlm_probability: share of masked tokens. 0, the default, leaves masked language modelling out: frozen
            text layers that never saw a mask have little to say of it.
        options: as for `AlignBeforeFuseBackbone`.
    """

    network: PhotoALBEF

    def __init__(
        self,
        encoder: DualEncoder,
        fusion: FusionOptions = FusionOptions(),
        contrast: ContrastSize = ContrastSize(embed_dim=384, queue_size=4096),
        training_size: int = 224,
        interpolation: Interpolation = "bicubic",
        mlm_probability: float = 0.0,
        **options: Any,
    ) -> None:
        numbers = encoder.text_tower.tokenizer.get_vocab()
        super().__init__(
            PhotoALBEF(encoder, fusion, contrast, training_size),
            sorted(numbers, key=numbers.__getitem__),
            mlm_probability,
            add_sep=True,  # as the sentence encoder saw its texts
            images=ImageOptions(encoder.mean, encoder.std, interpolation, training_size),
            **options,
        )
        self.frozen_parts = self.network.frozen_parts
        self.brings_weights = encoder.brings_weights

    @cached_property
    def feature_spec(self) -> FeatureSpec:  # type: ignore[override]
        """Features of the image towers; see `VisionLanguageBackbone`."""
        return feature_spec(self.network.photo_encoder, self.network.training_size)

    @torch.no_grad()
    def compute_features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,F) float16, what the image towers see."""
        encoder = self.network.photo_encoder
        return encoder.flatten(encoder.features(images))
