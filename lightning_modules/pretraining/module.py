"""Vision-language pre-training on images and captions (for ALBEF: Li et al. 2021, arXiv:2107.07651)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from datamodules.batches import ImageTextBatch
from lightning_modules.backbones.base import Texts, VisionLanguageBackbone
from lightning_modules.backbones.module import BackboneModule
from lightning_modules.optimisation import Optimisation


class VisionLanguagePretrain(BackboneModule):
    """Trains a backbone by contrast, matching and language modelling, all weighted 1, and grounds phrases.

    Args:
        backbone: the network and how it is used, e.g. `lightning_modules.backbones.albef.ALBEFBackbone`.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    train_batch: ClassVar[type] = ImageTextBatch

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(backbone, optimisation, pretrained)

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        step = self.training_progress(batch_idx)
        encoded = self.backbone.encode_for_training(batch.images, step)
        terms = self.backbone.losses(encoded, [Texts(batch.captions)], step)
        loss = terms["itc"] + terms["itm"] + terms[self.backbone.language_term]
        self.log_terms(loss, terms)
        return loss
