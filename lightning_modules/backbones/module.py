"""What methods on a vision-language backbone share: matching, grounding, and where the run stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.handover import Needs
from lightning_modules.backbones.base import TrainingStep, VisionLanguageBackbone
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation
from lightning_modules.vocabulary import check_digest


class BackboneModule(WeakgroundModule):
    """Base of the methods that are written against `VisionLanguageBackbone`.

    Args:
        backbone: the network and how it is used.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from.
    """

    def __init__(
        self, backbone: VisionLanguageBackbone, optimisation: Optimisation, pretrained: Path | None
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.backbone = backbone
        self.network = backbone.network
        self.preprocessing = backbone.preprocessing
        for part in backbone.frozen_parts:
            self.freeze_part(f"network.{part}", backbone.brings_weights)

    @property
    def needs(self) -> Needs:
        """Images, or what a frozen encoder of the network sees in them."""
        return replace(super().needs, features=self.backbone.feature_spec)

    @torch.no_grad()
    def compute_features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) normalised training images -> (N,F) float16, see `python cli.py features`."""
        return self.backbone.compute_features(images)

    def training_progress(self, batch_idx: int) -> TrainingStep:
        """Where the run stands."""
        trainer: Any = self.trainer
        return TrainingStep(
            epochs_done=self.epochs_done,
            first_of_accumulation=batch_idx % trainer.accumulate_grad_batches == 0,
            gather=self.rows_of_all_processes,
        )

    def rows_of_all_processes(self, rows: Tensor) -> Tensor:
        """(B,...) of this process -> (P B,...) of all P."""
        if self.trainer.world_size == 1:
            return rows
        return self.all_gather(rows).flatten(0, 1)  # type: ignore[union-attr]

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Class activation maps in [0,1]. See `lightning_modules.capabilities.CanGround`."""
        return self.backbone.heatmaps(images, phrases, image_of_query)

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines of the contrastive features. See `lightning_modules.capabilities.CanMatch`."""
        return self.backbone.similarity(images, texts)

    @property
    def match_scores_add_similarity(self) -> bool:
        """See `lightning_modules.capabilities.CanRetrieve`."""
        return self.backbone.match_scores_add_similarity

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Contrastive features and image tokens. See `lightning_modules.capabilities.CanRetrieve`."""
        encoded = self.backbone.encode(images)
        return self.backbone.image_features(encoded), encoded

    @torch.no_grad()
    def embed_texts(self, texts: list[str]) -> Tensor:
        """Contrastive features. See `lightning_modules.capabilities.CanRetrieve`."""
        return self.backbone.full_text_features(texts)

    @torch.no_grad()
    def match_scores(self, image_tokens: Tensor, texts: list[str], image_of_text: Tensor) -> Tensor:
        """ITM's logits of a match. See `lightning_modules.capabilities.CanRetrieve`."""
        return self.backbone.match_scores(image_tokens, texts, image_of_text)

    # Checkpoints remember the vocabulary, without which their word embeddings mean nothing.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the vocabulary's fingerprint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary"] = self.backbone.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also refuses the checkpoint of another vocabulary.

        Raises:
            ModelError: it was trained with another one.
        """
        super().on_load_checkpoint(checkpoint)
        own = self.backbone.fingerprint
        check_digest(checkpoint.get("vocabulary", own), own, "--model.backbone.vocabulary")
