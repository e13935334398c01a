"""ALBEF's pre-training (Li et al. 2021, arXiv:2107.07651), and what HIST inherits from it: matching,
grounding, the vision-language losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch, Interpolation, Preprocessing
from lightning_modules.base import ModelError, Optimisation, WeakgroundModule
from lightning_modules.hist.losses import (
    Contrast,
    Features,
    contrastive_loss,
    legacy_distillation,
    mask_tokens,
    masked_language_loss,
    matching_loss,
    negative_weights,
    said_of,
    same_text,
)
from lightning_modules.vocabulary import read_vocabulary, vocabulary_digest
from networks.albef import ALBEF, Fusion
from networks.layers.class_activation import (
    Relu,
    Target,
    TokenReduce,
    attention_gradients,
    cam_target,
    class_activation_map,
    minmax,
)
from networks.layers.tokenizer import Tokens, WordPieceTokenizer, pre_caption

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Images(NamedTuple):
    """A batch of B encoded images: tokens (B,1+P,D) of the network and its momentum twin, and their
    contrastive features.
    """

    tokens: Tensor
    momentum_tokens: Tensor
    features: Features


class ALBEFPretrain(WeakgroundModule):
    """Trains ALBEF on images and captions by ITC + ITM + MLM, all weighted 1, and grounds phrases by class
    activation maps.

    Args:
        network: the ALBEF network, of any size.
        vocabulary: file of BERT's vocabulary, a token a line.
        optimisation, pretrained: as for every method.
        mean, std, interpolation: of the images.
        max_words: words kept by the text cleaning (30 in ALBEF; 50 in AMC and SelfEQ, also at evaluation).
        max_tokens: tokens kept in training, special ones included. Evaluation keeps all that the network has
            positions for.
        distillation: share of the momentum model in the targets of ITC and MLM, ramped up linearly over the
            first epoch. 0 leaves the momentum model out of MLM.
        mlm_probability: share of masked tokens.
        negative_power: the soft-max weights of hard negatives are raised to this power; 1 is ALBEF's. From
            scratch, 1 kept matching at chance for over a thousand steps where 0.3 did not.
        negative_mask: pairs that are never drawn as negatives of ITM: the ``diagonal`` as in the public
            codes; ``same_text`` too; or ``mentioned``, every text that some caption of the other image
            mentions as well (phrases only; captions are treated as ``same_text``).
        add_sep: close texts with [SEP]. ALBEF's weights never saw one there.
        legacy_mlm_distill: the distillation of SelfEQ's and AMC's code, whose log-soft-max runs over the
            token axis.
        cam_target: what the map is the gradient of: the matching logit as in all public codes; the
            cross-entropy (HIST's text taken literally) has the opposite sign and vanishes where the model is
            sure.
        cam_relu: where negative gradients are dropped: ``per_element`` (codes), or ``after_mean``.
        cam_tokens: how tokens are averaged. ``mean_all`` (codes) divides by the longest text of the batch,
            ``mean_valid`` by the text's own length.
        queries_per_pass: phrases grounded at once; bounds the memory.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    network: ALBEF

    def __init__(
        self,
        network: ALBEF,
        vocabulary: Path,
        optimisation: Optimisation = Optimisation(),  # noqa: B008 (frozen)
        pretrained: Path | None = None,
        mean: tuple[float, float, float] = CLIP_MEAN,
        std: tuple[float, float, float] = CLIP_STD,
        interpolation: Interpolation = "bicubic",
        max_words: int = 50,
        max_tokens: int = 25,
        distillation: float = 0.4,
        mlm_probability: float = 0.15,
        negative_power: float = 1.0,
        negative_mask: Literal["diagonal", "same_text", "mentioned"] = "diagonal",
        add_sep: bool = False,
        legacy_mlm_distill: bool = False,
        cam_target: Target = "itm_logit",
        cam_relu: Relu = "per_element",
        cam_tokens: TokenReduce = "mean_valid",
        queries_per_pass: int = 128,
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.network = network
        tokens = read_vocabulary(Path(vocabulary))
        if len(tokens) != network.vocab_size:
            raise ModelError(
                f"{vocabulary} has {len(tokens)} tokens and network.vocab_size is {network.vocab_size}; make them equal."
            )
        self.vocabulary_digest = vocabulary_digest(tokens)
        self.tokenizer = WordPieceTokenizer(tokens, add_sep=add_sep)
        self.preprocessing = Preprocessing(network.image_size, mean, std, interpolation)
        self.max_words, self.max_tokens = max_words, max_tokens
        self.distillation, self.mlm_probability = distillation, mlm_probability
        self.negative_power, self.negative_mask = negative_power, negative_mask
        self.legacy_mlm_distill = legacy_mlm_distill
        self.cam_target, self.cam_relu, self.cam_tokens = cam_target, cam_relu, cam_tokens
        self.queries_per_pass = queries_per_pass

    # Training.

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        terms = self.vision_language_terms(self.encode_images(batch, batch_idx), {"": batch.captions})
        loss = terms["itc"] + terms["itm"] + terms["mlm"]
        self.log_terms(loss, terms)
        return loss

    def encode_images(self, batch: Any, batch_idx: int) -> Images:
        """Encodes the images once for all texts, after the step's one momentum update."""
        network = self.network
        if len(batch) < 2:
            raise ModelError("matching needs negatives from the batch: set --data.batch_size to 2 or more.")
        network.clamp_temperature()
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            network.update_momentum()
        tokens = network.encode_image(batch.images)
        with torch.no_grad():
            momentum_tokens = network.encode_image(batch.images, momentum=True)
            momentum_feature = network.image_feature(momentum_tokens, momentum=True)
        return Images(tokens, momentum_tokens, Features(network.image_feature(tokens), momentum_feature))

    def vision_language_terms(
        self, images: Images, levels: dict[str, list[str]], mentioned: Sequence[frozenset[str]] | None = None
    ) -> dict[str, Tensor]:
        """ITC and ITM of the images with every level of texts, and MLM of the first level; text and fusion
        encoder run once for all.

        The features of the first level are enqueued.

        Args:
            levels: B texts, one for each image, under the prefix of their terms' names.
            mentioned: what the captions of each image mention, see ``negative_mask``.
        """
        network, batch, aligned = self.network, len(images.tokens), len(images.tokens) * len(levels)
        rows = torch.arange(batch, device=self.device)
        tokens = self.tokenize([text for texts in levels.values() for text in texts])
        first = Tokens(tokens.ids[:batch], tokens.mask[:batch])
        masked_ids, chosen = self.mask(first)
        mask = torch.cat([tokens.mask, first.mask])
        hidden = network.encode_text(torch.cat([tokens.ids, masked_ids]), mask)
        features = self.text_features(hidden[:aligned], tokens)

        terms: dict[str, Tensor] = {}
        of_text, of_image = [], []
        for start, (name, texts) in zip(range(0, aligned, batch), levels.items(), strict=True):
            own = Features(*(feature[start : start + batch] for feature in features))
            contrast = contrastive_loss(
                images.features,
                own,
                network.image_queue,
                network.text_queue,
                network.temp,
                self.distillation_now,
            )
            terms[f"{name}itc"] = contrast.loss
            negative_images, negative_texts = self.draw_negatives(contrast, texts, mentioned)
            of_text += [start + rows, start + rows, start + negative_texts]
            of_image += [rows, negative_images, rows]
        of_text_q, of_image_q = torch.cat([*of_text, aligned + rows]), torch.cat([*of_image, rows])
        fused = network.fuse(hidden[of_text_q], mask[of_text_q], images.tokens, of_image_q).hidden

        logits = network.match_logits(fused[:-batch]).split(3 * batch)
        terms |= {
            f"{name}itm": matching_loss(pairs[:batch], pairs[batch:])
            for name, pairs in zip(levels, logits, strict=True)
        }
        terms["mlm"] = self.masked_language_term(fused[-batch:], first, masked_ids, chosen, images)
        self.enqueue(images.features.momentum, features.momentum[:batch])
        return terms

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> Tokens:
        """Cleaned texts to tokens; of each ``max_tokens``, by default as many as in training."""
        return self.tokenizer(
            [pre_caption(text, self.max_words) for text in texts],
            max_length=max_tokens or self.max_tokens,
            device=self.device,
        )

    def text_features(self, hidden: Tensor, tokens: Tokens) -> Features:
        """Contrastive features of M encoded texts, with those of the momentum twin, which encodes them
        itself.
        """
        network = self.network
        with torch.no_grad():
            momentum = network.text_feature(network.encode_text(*tokens, momentum=True), momentum=True)
        return Features(network.text_feature(hidden), momentum)

    def draw_negatives(
        self, contrast: Contrast, texts: Sequence[str], mentioned: Sequence[frozenset[str]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """For each text an image, and for each image a text, that do not match but look as if they did: (B,)
        and (B,) indices.
        """
        by_text = by_image = None
        if self.negative_mask != "diagonal":
            wrong = (
                said_of(texts, mentioned)
                if self.negative_mask == "mentioned" and mentioned
                else same_text(texts)
            )
            by_text, by_image = wrong.to(self.device), wrong.t().to(self.device)
        images, of_images = (
            torch.multinomial(negative_weights(similarities, self.negative_power, excluded), 1).squeeze(1)
            for similarities, excluded in (
                (contrast.text_to_image, by_text),
                (contrast.image_to_text, by_image),
            )
        )
        return images, of_images

    def mask(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        tokenizer = self.tokenizer
        special = [tokenizer.pad_id, tokenizer.cls_id, *tokenizer.closing_ids]
        return mask_tokens(tokens.ids, special, tokenizer.mask_id, tokenizer.vocab_size, self.mlm_probability)

    def masked_language_term(
        self, fused: Tensor, tokens: Tokens, masked_ids: Tensor, chosen: Tensor, images: Images
    ) -> Tensor:
        """MLM from the fused masked texts (B,T,W); the momentum model reads the same masked texts."""
        network, alpha = self.network, self.distillation_now
        logits, labels = network.mlm_logits(fused[chosen]), tokens.ids[chosen]
        if not alpha:
            return masked_language_loss(logits, labels, None, 0.0)
        with torch.no_grad():
            hidden = network.encode_text(masked_ids, tokens.mask, momentum=True)
            hidden = network.fuse(hidden, tokens.mask, images.momentum_tokens, momentum=True).hidden
            momentum_logits = network.mlm_logits(
                hidden if self.legacy_mlm_distill else hidden[chosen], momentum=True
            )
        if self.legacy_mlm_distill:
            soft = legacy_distillation(network.mlm_logits(fused), chosen, momentum_logits)
            return (1 - alpha) * masked_language_loss(logits, labels, None, 0.0) + alpha * soft
        return masked_language_loss(logits, labels, momentum_logits, alpha)

    def enqueue(self, image_features: Tensor, text_features: Tensor) -> None:
        """Puts the momentum features of all processes into the queues."""
        if self.trainer.world_size > 1:
            gathered = self.all_gather((image_features, text_features))
            image_features, text_features = (features.flatten(0, 1) for features in gathered)  # type: ignore[union-attr]
        self.network.enqueue(image_features, text_features)

    @property
    def epochs_done(self) -> float:
        """Epochs since the start, with fractions."""
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        return self.current_epoch + progress / max(1, self.trainer.num_training_batches)

    @property
    def distillation_now(self) -> float:
        return self.distillation * min(1.0, self.epochs_done)

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Class activation maps, each scaled to [0,1]; every image is encoded once. See
        `lightning_modules.base.CanGround`.
        """
        if not phrases:
            return torch.zeros(0, *self.network.grid, device=images.device)
        encoded = self.network.encode_image(images)
        passes = [
            slice(start, start + self.queries_per_pass)
            for start in range(0, len(phrases), self.queries_per_pass)
        ]
        return torch.cat(
            [self._ground_pass(encoded, phrases[queries], image_of_query[queries]) for queries in passes]
        )

    def _ground_pass(self, encoded: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        hidden, mask = self.encode_queries(phrases)
        fused = self.network.fuse(hidden, mask, encoded, image_of_query, return_attention=True)
        return minmax(self.activation_map(fused, mask))

    def encode_queries(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states (M,T,W) and mask (M,T) of texts in full length, as evaluations ask them."""
        tokens = self.tokenize(texts, self.network.max_positions)
        return self.network.encode_text(*tokens), tokens.mask

    def activation_map(
        self, fused: Fusion, mask: Tensor, create_graph: bool = False, denominator: Tensor | None = None
    ) -> Tensor:
        """The raw map (M,h,w) of M fused texts, from the attentions that their matching logits were computed
        with; the mean over the layers.
        """
        with torch.enable_grad():
            target = cam_target(self.network.match_logits(fused.hidden), self.cam_target)
            gradients = attention_gradients(target, fused.attentions, create_graph=create_graph)
        maps = [
            class_activation_map(
                attention,
                gradient,
                mask,
                self.network.grid,
                relu=self.cam_relu,
                token_reduce=self.cam_tokens,
                denominator=denominator,
            )
            for attention, gradient in zip(fused.attentions, gradients, strict=True)
        ]
        return torch.stack(maps).mean(dim=0)

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines of the contrastive features (N,M). See `lightning_modules.base.CanMatch`."""
        hidden, _ = self.encode_queries(texts)
        return (
            self.network.image_feature(self.network.encode_image(images))
            @ self.network.text_feature(hidden).t()
        )

    # Checkpoints remember the vocabulary, without which their word embeddings mean nothing.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["vocabulary_digest"] = self.vocabulary_digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if checkpoint.get("vocabulary_digest", self.vocabulary_digest) != self.vocabulary_digest:
            raise ModelError(
                "the checkpoint was trained with another vocabulary; set --model.vocabulary to that file."
            )
