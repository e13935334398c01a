"""SelfEQ: "Improved Visual Grounding through Self-Consistent Explanations" (arXiv:2312.04554).

A phrase and one that means the same should be found in the same place. HIST builds on its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.batches import PhraseBatch
from lightning_modules.backbones.base import Texts, VisionLanguageBackbone
from lightning_modules.backbones.module import BackboneModule
from lightning_modules.optimisation import Optimisation
from lightning_modules.selfeq.equivalents import SYNONYMS, Equivalents
from lightning_modules.selfeq.losses import consistency_loss, similarity_loss
from networks.layers.class_activation import minmax


@dataclass(frozen=True)
class ConsistencyOptions:
    """SelfEQ's own losses; the defaults are the public code's.

    Args:
        similarity_weight: of L_sim.
        consistency_weight: of L_cst.
        threshold: of the sum of both maps, above which a place is of interest to L_cst.
        epochs: so long they act, on equivalents in place of the phrases; the rest of the run is L_vl of the
            phrases alone.
    """

    similarity_weight: float = 1.0
    consistency_weight: float = 0.5
    threshold: float = 0.8
    epochs: float = 1.0


class SelfEQFinetune(BackboneModule):
    """Fine-tunes a backbone: L_vl of equivalents + L_sim + 0.5 L_cst in epoch 0, then L_vl of phrases.

    That is what the public code does. In the first epoch a phrase that has no equivalent stands for itself in
    L_vl, so that matching has a whole batch to draw its negatives from, and has no part in L_sim and L_cst.
    (The code leaves such a row out of L_vl, and it enqueues the features of phrases and not of equivalents.)

    Args:
        backbone: the network and how it is used, e.g. `lightning_modules.backbones.albef.ALBEFBackbone`.
        consistency: the losses on maps.
        synonyms: a list of words that mean the same, see `Equivalents`; None for the one that is shipped,
            words of captions of photographs.
        articles: whether a phrase without such a word is said with another article.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    train_batch: ClassVar[type] = PhraseBatch

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        consistency: ConsistencyOptions = ConsistencyOptions(),
        synonyms: Path | None = None,
        articles: bool = True,
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(backbone, optimisation, pretrained)
        self.consistency = consistency
        self.equivalents = Equivalents(Path(synonyms) if synonyms else SYNONYMS, articles)

    def training_step(self, batch: PhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        step = self.training_progress(batch_idx)
        encoded = self.backbone.encode_for_training(batch.images, step)
        texts = batch.phrases
        consistent = step.epochs_done < self.consistency.epochs
        if consistent:
            equivalents = [self.equivalents.draw(phrase) for phrase in batch.phrases]
            texts = [other or phrase for other, phrase in zip(equivalents, batch.phrases, strict=True)]
        terms = self.backbone.losses(encoded, [Texts(texts)], step, batch.mentioned)
        loss = terms["itc"] + terms["itm"] + terms[self.backbone.language_term]
        if consistent:
            terms |= self.map_terms(encoded, batch.phrases, equivalents)
            loss = loss + self.consistency.similarity_weight * terms["similarity"]
            loss = loss + self.consistency.consistency_weight * terms["consistency"]
        self.log_terms(loss, terms)
        return loss

    def map_terms(self, encoded: Any, phrases: list[str], equivalents: list[str | None]) -> dict[str, Tensor]:
        """L_sim and L_cst over the rows that have an equivalent.

        Args:
            encoded: the batch's images, from `VisionLanguageBackbone.encode_for_training`.
            phrases: B of them.
            equivalents: of each phrase, or None.

        Returns:
            Both terms, unweighted; 0 if no row has an equivalent.
        """
        rows = [row for row, equivalent in enumerate(equivalents) if equivalent]
        if not rows:
            nothing = torch.zeros((), device=self.device)
            return {"similarity": nothing, "consistency": nothing}
        texts = [phrases[row] for row in rows] + [str(equivalents[row]) for row in rows]
        image_of_text = torch.tensor(rows, device=self.device).repeat(2)
        maps = minmax(self.backbone.training_maps(encoded, texts, image_of_text, kinds=2))
        phrase_maps, equivalent_maps = maps.chunk(2)
        return {
            "similarity": similarity_loss(phrase_maps, equivalent_maps),
            "consistency": consistency_loss(phrase_maps, equivalent_maps, self.consistency.threshold),
        }
