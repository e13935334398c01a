"""HIST: "Barking Up The Syntactic Tree" (arXiv:2412.08110), on any vision-language backbone.

A caption is taken apart into phrases C_i and their subjects S_i, and phrases are put together into composites
"C_i and C_j". The three levels give three losses: L_phrase (ITC, ITM and the language loss on C_i), L_subject
(ITC and ITM on S_i) and L_add (the map of the composite is the sum of its parts' maps).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from datamodules.batches import PhraseBatch
from lightning_modules.backbones.base import Texts, VisionLanguageBackbone
from lightning_modules.backbones.module import BackboneModule
from lightning_modules.hist.losses import (
    AlphaSchedule,
    Combination,
    Reduction,
    addition_loss,
    vision_language_share,
)
from lightning_modules.optimisation import Optimisation
from networks.layers.class_activation import minmax

REDUCTIONS: dict[str, Reduction] = {"raw": "sum", "minmax": "mean", "relative": "relative"}


@dataclass(frozen=True)
class LossWeights:
    """Weights of HIST's own losses; 1 in the paper. 0 leaves a loss out, work and all (the paper's table 6).

    Args:
        subject: of L_subject.
        add: of L_add.
    """

    subject: float = 1.0
    add: float = 1.0


@dataclass(frozen=True)
class AdditionOptions:
    """How L_add compares maps.

    Args:
        maps: ``raw`` maps and the sum of their differences over the grid, as the paper prints it; ``minmax``
            maps and the mean, as SelfEQ's code normalises them; or ``relative``, raw maps and the difference
            as a share of what they hold.
        combine: how the parts' maps are joined: ``add``, ``clamp`` (at 1) or ``max``; the last two are meant
            for ``minmax``.
    """

    maps: Literal["raw", "minmax", "relative"] = "raw"
    combine: Combination = "add"


class HISTFinetune(BackboneModule):
    """Fine-tunes a backbone: alpha L_vl + (1 - alpha) (L_vl + L_subject + L_add), with L_vl = L_phrase.

    Args:
        backbone: the network and how it is used, e.g. `lightning_modules.backbones.albef.ALBEFBackbone`.
        weights: of the losses.
        addition: how L_add compares maps.
        alpha_schedule: see `lightning_modules.hist.losses.vision_language_share`. The paper's sentence allows
            several readings.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    train_batch: ClassVar[type] = PhraseBatch

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        weights: LossWeights = LossWeights(),
        addition: AdditionOptions = AdditionOptions(),
        alpha_schedule: AlphaSchedule = "step",
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(backbone, optimisation, pretrained)
        self.weights = weights
        self.addition = addition
        self.alpha_schedule = alpha_schedule

    def training_step(self, batch: PhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        step = self.training_progress(batch_idx)
        encoded = self.backbone.encode_for_training(batch.images, step)
        share = 1 - vision_language_share(self.alpha_schedule, step.epochs_done)
        # Only phrases, the first level, are enqueued: subjects are so few that the queue would fill with
        # false negatives.
        levels = [Texts(batch.phrases)]
        if share * self.weights.subject:
            levels.append(Texts(batch.subjects, "subject_"))
        terms = self.backbone.losses(encoded, levels, step, batch.mentioned)
        loss = terms["itc"] + terms["itm"] + terms[self.backbone.language_term]
        if share * self.weights.subject:
            loss = loss + share * self.weights.subject * (terms["subject_itc"] + terms["subject_itm"])
        if share * self.weights.add:
            terms["add"] = self.addition_term(encoded, batch)
            loss = loss + share * self.weights.add * terms["add"]
        self.log_terms(loss, terms)
        return loss

    def addition_term(self, encoded: Any, batch: PhraseBatch) -> Tensor:
        """L_add over the rows that have a partner, whose phrases, partners and composites are one batch.

        Args:
            encoded: the batch's images, from `VisionLanguageBackbone.encode_for_training`.
            batch: the phrases and partners.

        Returns:
            A scalar; 0 if no row has a partner.
        """
        rows = [row for row, partner in enumerate(batch.partners) if partner]
        if not rows:
            return torch.zeros((), device=self.device)
        phrases = [batch.phrases[row] for row in rows]
        partners = [str(batch.partners[row]) for row in rows]
        composites = [f"{phrase} and {partner}" for phrase, partner in zip(phrases, partners, strict=True)]
        image_of_text = torch.tensor(rows, device=self.device).repeat(3)
        maps = self.backbone.training_maps(
            encoded, [*phrases, *partners, *composites], image_of_text, kinds=3
        )
        if self.addition.maps == "minmax":
            maps = minmax(maps)
        phrase_maps, partner_maps, composite_maps = maps.chunk(3)
        reduction = REDUCTIONS[self.addition.maps]
        return addition_loss(phrase_maps, partner_maps, composite_maps, reduction, self.addition.combine)
