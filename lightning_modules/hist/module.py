"""HIST: "Barking Up The Syntactic Tree" (arXiv:2412.08110) on ALBEF.

A caption is taken apart into phrases C_i and their subjects S_i, and phrases are put together into composites
"C_i and C_j"; the three levels give three losses: L_phrase (ITC + ITM + MLM on C_i), L_subject (ITC + ITM on
S_i) and L_add (the map of the composite is the sum of its parts' maps).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from datamodules.batches import PhraseBatch
from lightning_modules.albef.module import ALBEFPretrain, Images
from lightning_modules.hist.losses import addition_loss, vision_language_share
from networks.albef import ALBEF
from networks.layers.class_activation import minmax

REDUCTIONS: dict[str, Literal["sum", "mean", "relative"]] = {
    "raw": "sum",
    "minmax": "mean",
    "relative": "relative",
}


class HISTFinetune(ALBEFPretrain):
    """Fine-tunes ALBEF with HIST's losses: alpha L_vl + (1 - alpha) (L_vl + L_subject + L_add), with L_vl =
    L_phrase.

    Args:
        network, vocabulary: as for `ALBEFPretrain`.
        subject_weight, add_weight: of L_subject and L_add; 1 in the paper. 0 leaves a loss out, work and all
            (the paper's table 6).
        alpha_schedule: see `lightning_modules.hist.losses.vision_language_share`. The paper's sentence allows
            several readings.
        add_maps: ``raw`` maps and the sum of their differences over the grid, as the paper prints it;
            ``minmax`` maps and the mean, as SelfEQ's code normalises them; or ``relative``, raw maps and the
            difference as a share of what they hold. From scratch at laptop size, raw differences were too
            small to teach anything, and scaled ones made the maps collapse to points (docs/results.md).
        add_combine: how the parts' maps are joined: ``add``, ``clamp`` (at 1) or ``max``; the last two are
            meant for ``minmax``.
        kwargs: as for `ALBEFPretrain`.
    """

    train_batch: ClassVar[type] = PhraseBatch

    def __init__(
        self,
        network: ALBEF,
        vocabulary: Any,
        subject_weight: float = 1.0,
        add_weight: float = 1.0,
        alpha_schedule: Literal["step", "linear", "constant"] = "step",
        add_maps: Literal["raw", "minmax", "relative"] = "raw",
        add_combine: Literal["add", "clamp", "max"] = "add",
        **kwargs: Any,
    ) -> None:
        super().__init__(network, vocabulary, **kwargs)
        self.subject_weight, self.add_weight, self.alpha_schedule = subject_weight, add_weight, alpha_schedule
        self.add_maps, self.add_combine = add_maps, add_combine

    def training_step(self, batch: PhraseBatch, batch_idx: int) -> Tensor:  # type: ignore[override]
        images = self.encode_images(batch, batch_idx)
        share = 1 - vision_language_share(self.alpha_schedule, self.epochs_done)
        # Only phrases, the first level, are enqueued: subjects are so few that the queue would fill with
        # false negatives.
        levels = {"": batch.phrases} | ({"subject_": batch.subjects} if share * self.subject_weight else {})
        terms = self.vision_language_terms(images, levels, batch.mentioned)
        loss = terms["itc"] + terms["itm"] + terms["mlm"]
        if share * self.subject_weight:
            loss = loss + share * self.subject_weight * (terms["subject_itc"] + terms["subject_itm"])
        if share * self.add_weight:
            terms["add"] = self.addition_term(images, batch)
            loss = loss + share * self.add_weight * terms["add"]
        self.log_terms(loss, terms)
        return loss

    def addition_term(self, images: Images, batch: PhraseBatch) -> Tensor:
        """L_add over the rows that have a partner, whose phrases, partners and composites are one batch; 0 if
        there are none.
        """
        pairs = [
            (row, phrase, partner)
            for row, (phrase, partner) in enumerate(zip(batch.phrases, batch.partners, strict=True))
            if partner
        ]
        if not pairs:
            return torch.zeros((), device=self.device)
        rows, phrases, partners = zip(*pairs, strict=True)
        tokens = self.tokenize(
            [*phrases, *partners, *(f"{phrase} and {partner}" for _, phrase, partner in pairs)]
        )
        longest = None
        if self.cam_tokens == "mean_all":  # of the texts of the same kind, as if each kind had its own pass
            longest = tokens.mask.sum(dim=1).view(3, -1).amax(dim=1).repeat_interleave(len(pairs))
        hidden, of_image = self.network.encode_text(*tokens), torch.tensor(rows, device=self.device).repeat(3)
        fused = self.network.fuse(
            hidden, tokens.mask, images.tokens, of_image, return_attention=True, create_graph=True
        )
        maps = self.activation_map(fused, tokens.mask, create_graph=True, denominator=longest)
        maps = minmax(maps) if self.add_maps == "minmax" else maps
        phrase, partner, composite = maps.chunk(3)
        return addition_loss(phrase, partner, composite, REDUCTIONS[self.add_maps], self.add_combine)
