"""HIST: "Barking Up The Syntactic Tree" (arXiv:2412.08110) on ALBEF.

A caption is taken apart into phrases C_i and their subjects S_i, and phrases are put together into composites "C_i and C_j"; the three levels give three
losses: L_phrase (ITC + ITM + MLM on C_i), L_subject (ITC + ITM on S_i) and L_add (the map of the composite is the sum of the maps of its parts).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from datamodules.batches import PhraseBatch
from lightning_modules.hist.losses import addition_loss, contrastive_loss, matching_loss, vision_language_share
from lightning_modules.hist.pretrain import ALBEFPretrain, Images
from networks.albef import ALBEF
from networks.gradcam import minmax
from networks.tokenizer import Tokens


class Level(NamedTuple):
    """One level of the hierarchy within the step's pool of texts: where its rows start, its tokens, and its texts."""

    start: int
    tokens: Tokens
    texts: list[str]


class HISTFinetune(ALBEFPretrain):
    """Fine-tunes ALBEF with HIST's losses: alpha L_vl + (1 - alpha) (L_vl + L_subject + L_add), with L_vl = L_phrase.

    Args:
        network, vocabulary: as for `ALBEFPretrain`.
        subject_weight, add_weight: of L_subject and L_add; 1 in the paper. 0 leaves a loss out, work and all (the paper's table 6).
        alpha_schedule: see `lightning_modules.hist.losses.vision_language_share`. The paper's sentence allows several readings.
        add_maps: ``raw`` maps summed over the grid as the paper prints it, or ``minmax`` maps averaged over it as SelfEQ's code normalises them.
        add_combine: how the parts' maps are joined: ``add``, ``clamp`` (at 1) or ``max``; the last two are meant for ``minmax``.
        kwargs: as for `ALBEFPretrain`.
    """

    train_batch = PhraseBatch

    def __init__(
        self,
        network: ALBEF,
        vocabulary: Any,
        subject_weight: float = 1.0,
        add_weight: float = 1.0,
        alpha_schedule: Literal["step", "linear", "constant"] = "step",
        add_maps: Literal["raw", "minmax"] = "raw",
        add_combine: Literal["add", "clamp", "max"] = "add",
        **kwargs: Any,
    ) -> None:
        super().__init__(network, vocabulary, **kwargs)
        self.subject_weight, self.add_weight, self.alpha_schedule = subject_weight, add_weight, alpha_schedule
        self.add_maps, self.add_combine = add_maps, add_combine

    def training_step(self, batch: PhraseBatch, batch_idx: int) -> Tensor:
        images = self.encode_images(batch, batch_idx)
        share = 1 - vision_language_share(self.alpha_schedule, self.epochs_done)
        if share == 0 or (self.subject_weight == 0 and self.add_weight == 0):
            terms = self.vision_language_terms(images, batch.phrases)
            loss = terms["itc"] + terms["itm"] + terms["mlm"]
        else:
            terms = self.hierarchy_terms(images, batch)
            loss = terms["itc"] + terms["itm"] + terms["mlm"]
            if self.subject_weight:
                loss = loss + share * self.subject_weight * (terms["subject_itc"] + terms["subject_itm"])
            if self.add_weight:
                loss = loss + share * self.add_weight * terms["add"]
        self.log_terms(loss, terms)
        return loss

    def hierarchy_terms(self, images: Images, batch: PhraseBatch) -> dict[str, Tensor]:
        """All terms of a step in two passes of the fusion encoder: one whose attention is differentiated (the phrase, its partner and their composite,
        in one batch), and one for everything else. The images were encoded once, and the text layers run once for all texts."""
        network, batch_size = self.network, len(batch)
        paired = [row for row, partner in enumerate(batch.partners) if partner is not None] if self.add_weight else []
        partners = [str(batch.partners[row]) for row in paired]
        composites = [f"{batch.phrases[row]} and {batch.partners[row]}" for row in paired]
        subjects = batch.subjects if self.subject_weight else []
        pool = self.tokenize([*batch.phrases, *subjects, *partners, *composites])
        phrase = Level(0, Tokens(pool.ids[:batch_size], pool.mask[:batch_size]), batch.phrases)
        masked_ids, chosen = self.mask(phrase.tokens)
        texts = self.encode_texts(Tokens(torch.cat([pool.ids, masked_ids]), torch.cat([pool.mask, phrase.tokens.mask])))

        rows = torch.arange(batch_size, device=self.device)
        pairs = rows[paired]
        passes: list[tuple[Tensor, Tensor]] = []  # (text, image) rows of the pass without activation maps
        terms: dict[str, Tensor] = {}
        levels = [phrase]
        if subjects:
            level = slice(batch_size, 2 * batch_size)
            levels.append(Level(batch_size, Tokens(pool.ids[level], pool.mask[level]), batch.subjects))
        momentum_texts: Tensor | None = None
        for name, level in zip(("itc", "subject_itc"), levels, strict=False):
            features = self.text_features(texts[level.start : level.start + batch_size], level.tokens)
            contrast = contrastive_loss(images.features, features, network.image_queue, network.text_queue, network.temp, self.distillation_now)
            terms[name] = contrast.loss
            negative_images, negative_texts = self.draw_negatives(contrast.image_to_text, contrast.text_to_image, level.texts)
            own = level.start + rows
            if level.start or not len(pairs):
                passes.append((own, rows))
            passes += [(own, negative_images), (level.start + negative_texts, rows)]
            momentum_texts = features.momentum if momentum_texts is None else momentum_texts
        passes.append((len(pool.ids) + rows, rows))

        positive = None
        if len(pairs):
            first_partner = batch_size * len(levels)
            of_text = torch.cat([rows, first_partner + torch.arange(2 * len(pairs), device=self.device)])
            positive, terms["add"] = self.addition_term(images, texts[of_text], torch.cat([rows, pairs, pairs]), pairs)
        elif self.add_weight:
            terms["add"] = torch.zeros((), device=self.device)

        of_text, of_image = (torch.cat(column) for column in zip(*passes, strict=True))
        hidden = network.fuse(*texts[of_text], images.tokens, of_image).hidden
        logits = network.match_logits(hidden[:-batch_size])
        if positive is not None:
            logits = torch.cat([positive, logits])
        for number, name in enumerate(("itm", "subject_itm")[: len(levels)]):
            of_level = logits[3 * batch_size * number : 3 * batch_size * (number + 1)]
            terms[name] = matching_loss(of_level[:batch_size], of_level[batch_size:])
        terms["mlm"] = self.masked_language_term(hidden[-batch_size:], phrase.tokens, masked_ids, chosen, images)
        assert momentum_texts is not None
        # Only phrases are enqueued: subjects are so few that the queue would fill with false negatives.
        self.enqueue(images.features.momentum, momentum_texts)
        return terms

    def addition_term(self, images: Images, texts: Any, of_image: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """L_add, and the matching logits (B,2) of the phrases, from B phrases, P partners and P composites in one pass.

        Float32 throughout: raw maps are near 1e-4 and would vanish in half precision.
        """
        phrases = len(of_image) - 2 * len(pairs)
        with torch.autocast(self.device.type, enabled=False):
            hidden = texts.hidden.float()
            fused = self.network.fuse(hidden, texts.mask, images.tokens.float(), of_image, return_attention=True, create_graph=True)
            lengths = texts.mask.sum(dim=1)
            groups = lengths.split([phrases, len(pairs), len(pairs)])
            longest = torch.cat([group.max().expand(len(group)) for group in groups]) if self.cam_tokens == "mean_all" else None
            maps = self.activation_map(fused, texts.mask, create_graph=True, denominator=longest)
            maps = minmax(maps) if self.add_maps == "minmax" else maps
            phrase, partner, composite = maps[:phrases][pairs], maps[phrases : phrases + len(pairs)], maps[phrases + len(pairs) :]
            loss = addition_loss(phrase, partner, composite, "sum" if self.add_maps == "raw" else "mean", self.add_combine)
        return self.network.match_logits(fused.hidden[:phrases]), loss
