"""Phrase alignment: a small head on frozen towers learns where phrases are, from captions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import CaptionPhraseBatch, Preprocessing, RandomWindow
from datamodules.handover import FeatureSpec, Needs
from lightning_modules.alignment.losses import (
    Phrases,
    caption_contrast,
    image_to_phrase,
    near_duplicates,
    phrase_to_image,
)
from lightning_modules.base import WeakgroundModule
from lightning_modules.capabilities import Refine, ScoredWords, TagScore
from lightning_modules.contrast import global_contrast, phrase_image_similarity
from lightning_modules.description import Describing
from lightning_modules.optimisation import Optimisation
from lightning_modules.stored_features import feature_spec
from lightning_modules.tags import score_captions
from networks.dual_encoder import DualEncoder
from networks.image_text_encoder import Places


@dataclass(frozen=True)
class AlignmentOptions:
    """What is learnt, and how much each part counts.

    Args:
        phrases: weight of phrase and image, both ways.
        captions: weight of captions that are scored by their phrases.
        whole: weight of whole images and whole captions.
        temperature: of the pooling over places, see `lightning_modules.contrast.attention_pool`.
        duplicate_cosine: phrases whose sentence vectors are closer than this are no negatives of each other.
        training_size: side of the square training images, in pixels.
    """

    phrases: float = 1.0
    captions: float = 1.0
    whole: float = 0.5
    temperature: float = 0.05
    duplicate_cosine: float = 0.8
    training_size: int = 224


class PhraseAlignment(Describing, WeakgroundModule):
    """Aligns phrases with places of photographs.

    The towers are frozen, so that their features can be computed once (`python cli.py features`) and training
    takes minutes; checkpoints hold the head alone.

    Args:
        encoder: the network, e.g. `lightning_modules.backbones.photo_encoder.PhotoEncoder`.
        options: of the losses.
        optimisation: optimiser and schedule.
        pretrained: a checkpoint of this method to start from.
    """

    train_batch: ClassVar[type] = CaptionPhraseBatch
    network: DualEncoder

    def __init__(
        self,
        encoder: DualEncoder,
        options: AlignmentOptions = AlignmentOptions(),
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.network = encoder
        self.options = options
        side = options.training_size
        self.preprocessing = Preprocessing(
            encoder.image_size, encoder.mean, encoder.std, training=RandomWindow((side, side), side)
        )
        self.freeze_part("network.image_towers", brings_weights=True)
        self.freeze_part("network.text_tower", brings_weights=True)
        self._seen: tuple[Tensor, list[Places]] | None = None

    def train(self, mode: bool = True) -> Self:
        """Forgets what was seen: the head is about to change, or has changed."""
        self._seen = None
        return super().train(mode)

    @property
    def needs(self) -> Needs:
        """Images, or the features that `compute_features` would compute of them."""
        return replace(super().needs, features=self._feature_spec)

    @cached_property
    def _feature_spec(self) -> FeatureSpec:
        return feature_spec(self.network, self.options.training_size)

    @torch.no_grad()
    def compute_features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) normalised training images -> (N,F) float16, what the head is trained on."""
        return self.network.flatten(self.network.features(images))

    # Training.

    def training_step(self, batch: CaptionPhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        side = self.options.training_size
        places = self.network.places(self.network.features_or_stored(batch.images, side))
        phrases = self._phrases(batch)
        scale = self.network.logit_scale.exp().clamp(max=100)
        unit = F.normalize(places.flatten(1, 2), dim=-1)
        logits = scale * phrase_image_similarity(phrases.vectors, unit, self.options.temperature)
        duplicates = near_duplicates(phrases.meaning, self.options.duplicate_cosine)
        whole_images = F.normalize(places.mean((1, 2)), dim=-1)
        terms = {
            "phrase_to_image": phrase_to_image(logits, phrases.owner, duplicates),
            "image_to_phrase": image_to_phrase(logits, phrases.owner, duplicates),
            "captions": caption_contrast(logits, phrases.owner),
            "whole": global_contrast(whole_images, self.network.encode_texts(batch.captions), scale),
        }
        loss = (
            self.options.phrases * (terms["phrase_to_image"] + terms["image_to_phrase"])
            + self.options.captions * terms["captions"]
            + self.options.whole * terms["whole"]
        )
        self.log_terms(loss, terms)
        return loss

    def _phrases(self, batch: CaptionPhraseBatch) -> Phrases:
        texts = list(chain.from_iterable(batch.phrases))
        counts = torch.tensor([len(phrases) for phrases in batch.phrases], device=self.device)
        owner = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        return Phrases(self.network.encode_texts(texts), owner, self.network.meaning(texts))

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """See `lightning_modules.capabilities.CanGround`.

        The same images asked about again, under another prompt or for a picture, are not encoded again.
        """
        if self._seen is None or self._seen[0] is not images:
            self._seen = (images, self.network.encode_views(images))
        return self.network.heatmaps_of(self._seen[1], phrases, image_of_query)

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines with places, pooled as in training; see `lightning_modules.capabilities.CanMatch`."""
        places = self.network.encode_places(images).vectors.flatten(1, 2)
        vectors = self.network.encode_texts(texts)
        return phrase_image_similarity(vectors, places, self.options.temperature).T

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """See `lightning_modules.capabilities.CanDescribe`."""
        return self.network.encode_texts(texts)

    @torch.no_grad()
    def segment(
        self, images: Tensor, texts: list[str], are_class_names: bool = True, refine: Refine | None = None
    ) -> Tensor:
        """See `lightning_modules.capabilities.CanSegment`; names of classes are taken as they are."""
        masks = self.network.soft_masks(images, self.network.encode_texts(texts))
        return masks if refine is None else refine(images, masks)

    @torch.no_grad()
    def score_tags(
        self, images: Tensor, captions: list[list[str]], kinds: Sequence[TagScore]
    ) -> dict[TagScore, list[ScoredWords]]:
        """See `lightning_modules.capabilities.CanScoreTags`."""
        places = self.network.encode_places(images).vectors.flatten(1, 2)
        return score_captions(captions, places, kinds, self.network.encode_texts)
