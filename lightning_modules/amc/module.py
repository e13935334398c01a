"""AMC: "Improving Visual Grounding by Encouraging Consistent Gradient-based Explanations" (arXiv:2206.15462).

It is **supervised**: it learns from phrases with boxes. In the tables of HIST it is the row that the weakly
supervised methods are to come near.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import BoxedPhraseBatch
from lightning_modules.amc.losses import max_margin_loss, mean_margin_loss
from lightning_modules.backbones.base import Texts, VisionLanguageBackbone
from lightning_modules.backbones.module import BackboneModule
from lightning_modules.optimisation import Optimisation
from networks.layers.class_activation import minmax


@dataclass(frozen=True)
class MarginOptions:
    """Weights and margins of AMC's own losses; the defaults are the public code's.

    Args:
        mean_weight: of L_mean.
        max_weight: of L_max.
        mean_margin: by how much the mean inside the boxes is to exceed that outside, of maps in [0,1].
        max_margin: by how much the highest value inside is to exceed that outside.
    """

    mean_weight: float = 0.2
    max_weight: float = 0.8
    mean_margin: float = 0.1
    max_margin: float = 0.5


class AMCFinetune(BackboneModule):
    """Fine-tunes a backbone on phrases **with boxes**: L_vl + 0.2 L_mean + 0.8 L_max.

    It needs data whose training split has boxes (`datamodules.kinds.boxed_phrases`): Visual Genome, or made
    scenes.

    Args:
        backbone: the network and how it is used, e.g. `lightning_modules.backbones.albef.ALBEFBackbone`.
        margins: of the losses on maps.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    train_batch: ClassVar[type] = BoxedPhraseBatch

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        margins: MarginOptions = MarginOptions(),
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(backbone, optimisation, pretrained)
        self.margins = margins

    def training_step(self, batch: BoxedPhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        step = self.training_progress(batch_idx)
        encoded = self.backbone.encode_for_training(batch.images, step)
        terms = self.backbone.losses(encoded, [Texts(batch.phrases)], step, batch.mentioned)
        terms |= self.margin_terms(encoded, batch)
        loss = terms["itc"] + terms["itm"] + terms[self.backbone.language_term]
        loss = loss + self.margins.mean_weight * terms["mean_margin"]
        loss = loss + self.margins.max_weight * terms["max_margin"]
        self.log_terms(loss, terms)
        return loss

    def margin_terms(self, encoded: Any, batch: BoxedPhraseBatch) -> dict[str, Tensor]:
        """L_mean and L_max of the maps of the phrases, enlarged to the size of the images.

        Args:
            encoded: the batch's images, from `VisionLanguageBackbone.encode_for_training`.
            batch: the phrases and regions; rows whose region is empty are left out.

        Returns:
            Both terms, unweighted; 0 if all regions are empty.
        """
        rows = batch.regions.flatten(1).any(dim=1).nonzero().squeeze(1)
        if not len(rows):
            nothing = torch.zeros((), device=self.device)
            return {"mean_margin": nothing, "max_margin": nothing}
        phrases = [batch.phrases[row] for row in rows.tolist()]
        maps = minmax(self.backbone.training_maps(encoded, phrases, rows))
        regions = batch.regions[rows]
        enlarged = F.interpolate(maps[:, None], regions.shape[-2:], mode="bilinear")[:, 0]
        return {
            "mean_margin": mean_margin_loss(enlarged, regions, self.margins.mean_margin),
            "max_margin": max_margin_loss(enlarged, regions, self.margins.max_margin),
        }
