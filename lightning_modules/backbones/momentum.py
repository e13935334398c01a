"""What ALBEF and BLIP share as backbones: contrast with momentum twins, matching, class activation maps.

Legend: N images, B rows of a training batch, M texts, G levels of B texts each, T tokens, h x w the grid of a
map.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.batches import Preprocessing, RandomWindow
from lightning_modules.backbones.base import Texts, TrainingStep, VisionLanguageBackbone
from lightning_modules.backbones.losses import (
    Contrast,
    Features,
    contrastive_loss,
    matching_loss,
    mentioned_in,
    negative_weights,
    same_text,
)
from lightning_modules.backbones.maps import MapReading, evaluation_reading, training_reading
from lightning_modules.backbones.options import (
    ContrastDistillation,
    ImageOptions,
    MapOptions,
    NegativeOptions,
)
from lightning_modules.errors import ModelError
from lightning_modules.vocabulary import check_size, vocabulary_digest
from networks.layers.class_activation import (
    attention_gradients,
    cam_target,
    class_activation_map,
    join_maps,
)
from networks.layers.momentum_contrast import Fusion, MomentumContrast
from networks.layers.tokenizer import Tokens, WordPieceTokenizer
from networks.layers.vit import square_grid


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


class Pairs(NamedTuple):
    """What matching compares: of each level, B pairs that match and 2 B that do not.

    Args:
        texts: (3 B G,) into the texts of all levels.
        images: (3 B G,) into the B images.
    """

    texts: Tensor
    images: Tensor


class MomentumBackbone(VisionLanguageBackbone):
    """Base of the backbones on a `MomentumContrast`.

    Args:
        network: of any size.
        tokens: the vocabulary in the order of its ids.
        add_sep: whether texts close with [SEP].
        max_tokens: tokens kept in training, special ones included. Evaluation keeps all that the network has
            positions for.
        max_words: words kept by the text cleaning (30 in ALBEF; 50 in AMC and SelfEQ, also at evaluation).
        images: how images are made ready.
        maps: how class activation maps are made.
        negatives: how hard negatives are drawn.
        distillation: how much of the momentum model is in the targets.

    Raises:
        ModelError: the vocabulary is not of the network's size.
    """

    network: MomentumContrast

    def __init__(
        self,
        network: MomentumContrast,
        tokens: list[str],
        *,
        add_sep: bool,
        max_tokens: int,
        max_words: int = 50,
        images: ImageOptions = ImageOptions(),
        maps: MapOptions = MapOptions(),
        negatives: NegativeOptions = NegativeOptions(),
        distillation: ContrastDistillation = ContrastDistillation(),
    ) -> None:
        check_size(tokens, network.vocab_size)
        self.network = network
        self.fingerprint = vocabulary_digest(tokens)
        self.tokenizer = WordPieceTokenizer(tokens, add_sep=add_sep)
        self.preprocessing = _preprocessing(network.image_size, images)
        self.maps = maps
        self.training_reading = training_reading(network, maps)
        self.evaluation_reading = evaluation_reading(network, maps)
        self.negatives = negatives
        self.distillation = distillation
        self.max_words = max_words
        self.max_tokens = max_tokens

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the maps of images that are judged."""
        return self.network.grid

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self.network.temp.device

    # What the networks do differently.

    @abstractmethod
    def clean(self, text: str) -> str:
        """The text as the tokeniser is to see it."""

    @abstractmethod
    def encode_texts(self, tokens: Tokens, momentum: bool = False) -> Tensor:
        """Hidden states (M,T,W) of texts without images, whose first is projected for contrast."""

    @abstractmethod
    def fuse_texts(
        self,
        tokens: Tokens,
        image_tokens: Tensor,
        image_of_text: Tensor,
        attention_layers: Sequence[int],
        create_graph: bool = False,
    ) -> Fusion:
        """Texts together with their images, and the attentions of some layers.

        Args:
            tokens: of M texts.
            image_tokens: (N,1+P,D).
            image_of_text: (M,) long, into the images.
            attention_layers: whose attention is returned.
            create_graph: whether a loss will differentiate maps.
        """

    @abstractmethod
    def fuse_hidden_texts(
        self, hidden: Tensor, tokens: Tokens, image_tokens: Tensor, image_of_text: Tensor
    ) -> Tensor:
        """Texts that were read alone, together with their images: hidden states (M,T,W).

        Args:
            hidden: (M,T,W) from `encode_texts`, for a network that goes on from there.
            tokens: the same texts, for a network that reads them anew.
            image_tokens: (N,1+P,D).
            image_of_text: (M,) long, into the images.
        """

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

    def distillation_share(self, step: TrainingStep) -> float:
        """The momentum model's share in the targets at this step."""
        return self.distillation.share * min(1.0, step.epochs_done)

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> Tokens:
        """Cleaned texts as tokens, each of at most ``max_tokens``, by default as many as in training."""
        cleaned = [self.clean(text) for text in texts]
        return self.tokenizer(cleaned, max_length=max_tokens or self.max_tokens, device=self.device)

    def text_features(self, hidden: Tensor, tokens: Tokens) -> Features:
        """Contrastive features of M encoded texts and of the momentum twin, which encodes them itself."""
        network = self.network
        with torch.no_grad():
            momentum_hidden = self.encode_texts(tokens, momentum=True)
            momentum_feature = network.text_feature(momentum_hidden, momentum=True)
        return Features(network.text_feature(hidden), momentum_feature)

    def contrast_levels(
        self,
        encoded: EncodedImages,
        levels: Sequence[Texts],
        features: Features,
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None,
    ) -> tuple[dict[str, Tensor], Pairs]:
        """ITC of each level, and the pairs that matching is to compare.

        Args:
            encoded: the images.
            levels: G levels of B texts.
            features: of their G B texts.
            step: where the run stands.
            mentioned: see `VisionLanguageBackbone.losses`.

        Returns:
            The terms, and the pairs level by level: matching ones, negative images, negative texts.
        """
        network = self.network
        batch = len(encoded.tokens)
        rows = torch.arange(batch, device=self.device)
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
        return terms, Pairs(torch.cat(text_rows), torch.cat(image_rows))

    def draw_negatives(
        self,
        contrast: Contrast,
        texts: Sequence[str],
        mentioned: Sequence[frozenset[str]] | None = None,
        same_image: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Hard negatives that do not match but look as if they did.

        Args:
            contrast: from which they are drawn.
            texts: B texts.
            mentioned: see `VisionLanguageBackbone.losses`.
            same_image: (B,B) bool, rows of the same image, which are no negatives of each other; by default
                each row is of an image of its own.

        Returns:
            For each text an image (B,), and for each image a text (B,).
        """
        by_text = same_image
        by_image = same_image
        if self.negatives.exclude != "diagonal":
            if self.negatives.exclude == "mentioned" and mentioned:
                false_negatives = mentioned_in(texts, mentioned)
            else:
                false_negatives = same_text(texts)
            false_negatives = false_negatives.to(self.device)
            if same_image is not None:
                false_negatives = false_negatives | same_image
            by_text = false_negatives
            by_image = false_negatives.t()
        image_of_text = _draw(negative_weights(contrast.text_to_image, self.negatives.power, by_text))
        text_of_image = _draw(negative_weights(contrast.image_to_text, self.negatives.power, by_image))
        return image_of_text, text_of_image

    def matching_terms(self, fused: Tensor, levels: Sequence[Texts]) -> dict[str, Tensor]:
        """ITM of each level from the fused pairs (3 B G,T,W)."""
        terms = {}
        logits_of_level = self.network.match_logits(fused).chunk(len(levels))
        for level, logits in zip(levels, logits_of_level, strict=True):
            batch = len(level.texts)
            terms[f"{level.prefix}itm"] = matching_loss(logits[:batch], logits[batch:])
        return terms

    def training_maps(
        self, encoded: EncodedImages, texts: Sequence[str], image_of_text: Tensor, kinds: int = 1
    ) -> Tensor:
        """See `VisionLanguageBackbone.training_maps`."""
        tokens = self.tokenize(texts)
        longest = None
        if self.maps.tokens == "mean_all":  # of the texts of the same kind, as if each kind had its own pass
            lengths = tokens.mask.sum(dim=1).view(kinds, -1)
            longest = lengths.amax(dim=1).repeat_interleave(lengths.shape[1])
        reading = self.training_reading
        fused = self.fuse_texts(tokens, encoded.tokens, image_of_text, reading.layers, create_graph=True)
        return self.activation_map(fused, tokens, reading, create_graph=True, denominator=longest)

    # Inference.

    def encode(self, images: Tensor) -> Tensor:
        """(N,3,H,W) images -> image tokens (N,1+P,D)."""
        return self.network.encode_image(images)

    def raw_maps(self, encoded: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Raw maps (M,h,w) of texts in full length, each on its image."""
        tokens = self.tokenize(texts, self.network.max_positions)
        reading = self.evaluation_reading
        fused = self.fuse_texts(tokens, encoded, image_of_text, reading.layers)
        return self.activation_map(fused, tokens, reading)

    def image_features(self, encoded: Tensor) -> Tensor:
        """(N,1+P,D) image tokens -> contrastive features (N,E)."""
        return self.network.image_feature(encoded)

    def full_text_features(self, texts: Sequence[str]) -> Tensor:
        """Contrastive features (M,E) of texts in full length, as evaluations ask them."""
        tokens = self.tokenize(texts, self.network.max_positions)
        return self.network.text_feature(self.encode_texts(tokens))

    def match_scores(self, encoded: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """See `VisionLanguageBackbone.match_scores`: ITM's logit of a match."""
        tokens = self.tokenize(texts, self.network.max_positions)
        fused = self.fuse_texts(tokens, encoded, image_of_text, attention_layers=())
        return self.network.match_logits(fused.hidden)[:, 1]

    def activation_map(
        self,
        fused: Fusion,
        tokens: Tokens,
        reading: MapReading,
        create_graph: bool = False,
        denominator: Tensor | None = None,
    ) -> Tensor:
        """The raw map (M,h,w) of M fused texts.

        Args:
            fused: texts fused with their images, with the attentions of the layers that are read.
            tokens: of the texts.
            reading: the layers and heads that are read.
            create_graph: whether a loss will differentiate the map.
            denominator: (M,) number of tokens to divide by; only with ``mean_all``.
        """
        with torch.enable_grad():
            target = cam_target(self.network.match_logits(fused.hidden), self.maps.target)
            gradients = attention_gradients(target, fused.attentions, create_graph=create_graph)
        mask = tokens.mask
        if self.maps.tokens == "mean_no_special":  # which leaves out the first token by itself
            for closing_id in self.tokenizer.closing_ids:
                mask = mask * (tokens.ids != closing_id)
        maps = []
        for source in reading.sources:
            place = reading.layers.index(source.layer)
            maps.append(
                class_activation_map(
                    fused.attentions[place],
                    gradients[place],
                    mask,
                    square_grid(fused.attentions[place].shape[-1] - 1),
                    relu=self.maps.relu,
                    token_reduce=self.maps.tokens,
                    heads=source.heads,
                    denominator=denominator,
                )
            )
        return join_maps(torch.stack(maps), reading.combine)


def _preprocessing(image_size: int, images: ImageOptions) -> Preprocessing:
    side = images.train_size
    training = None if side is None else RandomWindow((side, side), side)
    return Preprocessing(image_size, images.mean, images.std, images.interpolation, training=training)


def _draw(weights: Tensor) -> Tensor:
    """(B,B) probabilities -> (B,), one index a row."""
    return torch.multinomial(weights, 1).squeeze(1)
