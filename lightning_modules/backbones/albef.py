"""ALBEF as a backbone (Li et al. 2021, arXiv:2107.07651)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from datamodules.batches import Preprocessing
from lightning_modules.backbones.base import Texts, TrainingStep, VisionLanguageBackbone
from lightning_modules.backbones.losses import (
    Contrast,
    Features,
    contrastive_loss,
    legacy_distillation,
    mask_tokens,
    masked_language_loss,
    matching_loss,
    mentioned_in,
    negative_weights,
    same_text,
)
from lightning_modules.backbones.options import (
    DistillationOptions,
    ImageOptions,
    MapOptions,
    NegativeOptions,
)
from lightning_modules.errors import ModelError
from lightning_modules.vocabulary import read_vocabulary, vocabulary_digest
from networks.albef import ALBEF, Fusion
from networks.layers.class_activation import attention_gradients, cam_target, class_activation_map
from networks.layers.tokenizer import Tokens, WordPieceTokenizer, pre_caption


class EncodedImages(NamedTuple):
    """A training batch of B encoded images.

    Args:
        tokens: (B,1+P,D) of the network.
        momentum_tokens: (B,1+P,D) of its momentum twin.
        features: contrastive features of both.
    """

    tokens: Tensor
    momentum_tokens: Tensor
    features: Features


class MaskedTexts(NamedTuple):
    """The masked copies of the first level's B texts.

    Args:
        tokens: the texts as they are.
        masked_ids: (B,T) ids, some of them masked.
        chosen: (B,T) bool, the tokens to be predicted.
    """

    tokens: Tokens
    masked_ids: Tensor
    chosen: Tensor


class ALBEFBackbone(VisionLanguageBackbone):
    """Texts of WordPiece, ITC + ITM + MLM, and class activation maps of the cross-attention.

    Args:
        network: the ALBEF network, of any size.
        vocabulary: file of BERT's vocabulary, a token a line.
        images: how images are made ready.
        maps: how class activation maps are made.
        negatives: how hard negatives are drawn.
        distillation: how much of the momentum model is in the targets.
        max_words: words kept by the text cleaning (30 in ALBEF; 50 in AMC and SelfEQ, also at evaluation).
        max_tokens: tokens kept in training, special ones included. Evaluation keeps all that the network has
            positions for.
        mlm_probability: share of masked tokens.
        add_sep: close texts with [SEP]. ALBEF's weights never saw one there.

    Raises:
        ModelError: the vocabulary is missing, or is not of the network's size.
    """

    language_term: ClassVar[str] = "mlm"
    network: ALBEF

    def __init__(
        self,
        network: ALBEF,
        vocabulary: Path,
        images: ImageOptions = ImageOptions(),  # noqa: B008 (frozen)
        maps: MapOptions = MapOptions(),  # noqa: B008 (frozen)
        negatives: NegativeOptions = NegativeOptions(),  # noqa: B008 (frozen)
        distillation: DistillationOptions = DistillationOptions(),  # noqa: B008 (frozen)
        max_words: int = 50,
        max_tokens: int = 25,
        mlm_probability: float = 0.15,
        add_sep: bool = False,
    ) -> None:
        tokens = read_vocabulary(Path(vocabulary))
        if len(tokens) != network.vocab_size:
            raise ModelError(
                f"{vocabulary} has {len(tokens)} tokens and the network's text.vocab_size is "
                f"{network.vocab_size}; make them equal."
            )
        self.network = network
        self.fingerprint = vocabulary_digest(tokens)
        self.tokenizer = WordPieceTokenizer(tokens, add_sep=add_sep)
        self.preprocessing = Preprocessing(network.image_size, images.mean, images.std, images.interpolation)
        self.maps = maps
        self.map_layers = network.attention_layers(maps.layers)
        self.negatives = negatives
        self.distillation = distillation
        self.max_words = max_words
        self.max_tokens = max_tokens
        self.mlm_probability = mlm_probability

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of every map."""
        return self.network.grid

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self.network.temp.device

    # Training.

    def encode_for_training(self, images: Tensor, step: TrainingStep) -> EncodedImages:
        """Encodes the images once for all texts, after the step's one momentum update."""
        network = self.network
        if len(images) < 2:
            raise ModelError("matching needs negatives from the batch: set --data.batch_size to 2 or more.")
        network.clamp_temperature()
        if step.first_of_accumulation:
            network.update_momentum()
        tokens = network.encode_image(images)
        with torch.no_grad():
            momentum_tokens = network.encode_image(images, momentum=True)
            momentum_feature = network.image_feature(momentum_tokens, momentum=True)
        features = Features(network.image_feature(tokens), momentum_feature)
        return EncodedImages(tokens, momentum_tokens, features)

    def losses(
        self,
        encoded: EncodedImages,
        levels: Sequence[Texts],
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> dict[str, Tensor]:
        """See `VisionLanguageBackbone.losses`. Text and fusion encoder run once for all levels.

        The features of the first level are enqueued.
        """
        network = self.network
        batch = len(encoded.tokens)
        matched = batch * len(levels)
        rows = torch.arange(batch, device=self.device)
        tokens = self.tokenize([text for level in levels for text in level.texts])
        first = self.mask(Tokens(tokens.ids[:batch], tokens.mask[:batch]))
        mask = torch.cat([tokens.mask, first.tokens.mask])
        hidden = network.encode_text(torch.cat([tokens.ids, first.masked_ids]), mask)
        features = self.text_features(hidden[:matched], tokens)

        terms: dict[str, Tensor] = {}
        text_rows: list[Tensor] = []
        image_rows: list[Tensor] = []
        for number, level in enumerate(levels):
            start = number * batch
            level_features = Features(*(feature[start : start + batch] for feature in features))
            contrast = contrastive_loss(
                encoded.features,
                level_features,
                network.image_queue,
                network.text_queue,
                network.temp,
                self.distillation_share(step),
            )
            terms[f"{level.prefix}itc"] = contrast.loss
            negative_images, negative_texts = self.draw_negatives(contrast, level.texts, mentioned)
            text_rows += [start + rows, start + rows, start + negative_texts]
            image_rows += [rows, negative_images, rows]
        text_of_row = torch.cat([*text_rows, matched + rows])
        image_of_row = torch.cat([*image_rows, rows])
        fused = network.fuse(hidden[text_of_row], mask[text_of_row], encoded.tokens, image_of_row).hidden

        logits_of_level = network.match_logits(fused[:-batch]).split(3 * batch)
        for level, logits in zip(levels, logits_of_level, strict=True):
            terms[f"{level.prefix}itm"] = matching_loss(logits[:batch], logits[batch:])
        terms["mlm"] = self.masked_language_term(fused[-batch:], first, encoded, step)
        network.enqueue(step.gather(encoded.features.momentum), step.gather(features.momentum[:batch]))
        return terms

    def distillation_share(self, step: TrainingStep) -> float:
        """The momentum model's share in the targets at this step."""
        return self.distillation.share * min(1.0, step.epochs_done)

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> Tokens:
        """Cleaned texts as tokens, each of at most ``max_tokens``, by default as many as in training."""
        cleaned = [pre_caption(text, self.max_words) for text in texts]
        return self.tokenizer(cleaned, max_length=max_tokens or self.max_tokens, device=self.device)

    def text_features(self, hidden: Tensor, tokens: Tokens) -> Features:
        """Contrastive features of M encoded texts and of the momentum twin, which encodes them itself."""
        network = self.network
        with torch.no_grad():
            momentum_hidden = network.encode_text(*tokens, momentum=True)
            momentum_feature = network.text_feature(momentum_hidden, momentum=True)
        return Features(network.text_feature(hidden), momentum_feature)

    def draw_negatives(
        self,
        contrast: Contrast,
        texts: Sequence[str],
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Hard negatives that do not match but look as if they did.

        Returns:
            For each text an image (B,), and for each image a text (B,).
        """
        by_text: Tensor | None = None
        by_image: Tensor | None = None
        if self.negatives.exclude != "diagonal":
            if self.negatives.exclude == "mentioned" and mentioned:
                false_negatives = mentioned_in(texts, mentioned)
            else:
                false_negatives = same_text(texts)
            by_text = false_negatives.to(self.device)
            by_image = false_negatives.t().to(self.device)
        image_of_text = _draw(negative_weights(contrast.text_to_image, self.negatives.power, by_text))
        text_of_image = _draw(negative_weights(contrast.image_to_text, self.negatives.power, by_image))
        return image_of_text, text_of_image

    def mask(self, tokens: Tokens) -> MaskedTexts:
        """Masks tokens at random."""
        tokenizer = self.tokenizer
        special_ids = [tokenizer.pad_id, tokenizer.cls_id, *tokenizer.closing_ids]
        masked_ids, chosen = mask_tokens(
            tokens.ids, special_ids, tokenizer.mask_id, tokenizer.vocab_size, self.mlm_probability
        )
        return MaskedTexts(tokens, masked_ids, chosen)

    def masked_language_term(
        self, fused: Tensor, texts: MaskedTexts, encoded: EncodedImages, step: TrainingStep
    ) -> Tensor:
        """MLM from the fused masked texts (B,T,W); the momentum model reads the same masked texts."""
        network = self.network
        alpha = self.distillation_share(step)
        logits = network.mlm_logits(fused[texts.chosen])
        labels = texts.tokens.ids[texts.chosen]
        if not alpha:
            return masked_language_loss(logits, labels, None, 0.0)
        legacy = self.distillation.legacy_mlm
        mask = texts.tokens.mask
        with torch.no_grad():
            hidden = network.encode_text(texts.masked_ids, mask, momentum=True)
            hidden = network.fuse(hidden, mask, encoded.momentum_tokens, momentum=True).hidden
            predicted = hidden if legacy else hidden[texts.chosen]
            momentum_logits = network.mlm_logits(predicted, momentum=True)
        if legacy:
            soft = legacy_distillation(network.mlm_logits(fused), texts.chosen, momentum_logits)
            return (1 - alpha) * masked_language_loss(logits, labels, None, 0.0) + alpha * soft
        return masked_language_loss(logits, labels, momentum_logits, alpha)

    def training_maps(
        self, encoded: EncodedImages, texts: Sequence[str], image_of_text: Tensor, kinds: int = 1
    ) -> Tensor:
        """See `VisionLanguageBackbone.training_maps`."""
        tokens = self.tokenize(texts)
        longest = None
        if self.maps.tokens == "mean_all":  # of the texts of the same kind, as if each kind had its own pass
            lengths = tokens.mask.sum(dim=1).view(kinds, -1)
            longest = lengths.amax(dim=1).repeat_interleave(lengths.shape[1])
        hidden = self.network.encode_text(*tokens)
        fused = self.network.fuse(
            hidden,
            tokens.mask,
            encoded.tokens,
            image_of_text,
            attention_layers=self.map_layers,
            create_graph=True,
        )
        return self.activation_map(fused, tokens.mask, create_graph=True, denominator=longest)

    # Inference.

    def encode(self, images: Tensor) -> Tensor:
        """(N,3,H,W) images -> image tokens (N,1+P,D)."""
        return self.network.encode_image(images)

    def raw_maps(self, encoded: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Raw maps (M,h,w) of texts in full length, each on its image."""
        hidden, mask = self.encode_full_texts(texts)
        fused = self.network.fuse(hidden, mask, encoded, image_of_text, attention_layers=self.map_layers)
        return self.activation_map(fused, mask)

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(N,3,H,W) images and M texts -> (N,M) cosines of their contrastive features."""
        hidden, _ = self.encode_full_texts(texts)
        image_features = self.network.image_feature(self.network.encode_image(images))
        return image_features @ self.network.text_feature(hidden).t()

    def encode_full_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states (M,T,W) and mask (M,T) of texts in full length, as evaluations ask them."""
        tokens = self.tokenize(texts, self.network.max_positions)
        return self.network.encode_text(*tokens), tokens.mask

    def activation_map(
        self, fused: Fusion, mask: Tensor, create_graph: bool = False, denominator: Tensor | None = None
    ) -> Tensor:
        """The raw map (M,h,w) of M fused texts, the mean over the layers.

        Args:
            fused: texts fused with their images, with the attentions of the layers to be explained.
            mask: (M,T), 1 = token.
            create_graph: whether a loss will differentiate the map.
            denominator: (M,) number of tokens to divide by; only with ``mean_all``.
        """
        with torch.enable_grad():
            target = cam_target(self.network.match_logits(fused.hidden), self.maps.target)
            gradients = attention_gradients(target, fused.attentions, create_graph=create_graph)
        maps = []
        for attention, gradient in zip(fused.attentions, gradients, strict=True):
            maps.append(
                class_activation_map(
                    attention,
                    gradient,
                    mask,
                    self.grid,
                    relu=self.maps.relu,
                    token_reduce=self.maps.tokens,
                    denominator=denominator,
                )
            )
        return torch.stack(maps).mean(dim=0)


def _draw(weights: Tensor) -> Tensor:
    """(B,B) probabilities -> (B,), one index a row."""
    return torch.multinomial(weights, 1).squeeze(1)
