"""TTD: "Text-Tag Self-Distillation Enhancing Image-Text Alignment in CLIP to Alleviate Single Tag Bias"
(called the paper here).

A dense CLIP says where each word of a caption is. Those that are seen best become the caption's tags; their
maps become sharper, those of the other words vanish, and the map of the whole caption becomes their union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch, Preprocessing, RandomWindow
from datamodules.handover import FeatureSpec, Needs
from lightning_modules.base import WeakgroundModule
from lightning_modules.capabilities import Refine, ScoredWords, TagScore
from lightning_modules.contrast import contrast_of_pairs
from lightning_modules.optimisation import Optimisation
from lightning_modules.stored_features import feature_spec
from lightning_modules.tags import score_captions, select_by_largest_gap
from lightning_modules.teacher import TeacherOptions
from lightning_modules.ttd.losses import LossOptions, Maps, ttd_losses
from lightning_modules.ttd.maps import (
    BatchTexts,
    as_maps,
    caption_similarity,
    similarity_maps,
    texts_of,
    valid_cells,
)
from lightning_modules.ttd.options import OPTIMISATION, SELF_TEACHER, ContrastOptions, ImageOptions
from lightning_modules.ttd.teacher import Teacher, trained_parameters
from networks.dense_encoder import DenseEncoder, pad_to_multiple
from networks.layers.lora import LoRAOptions, adapted_layers, add_adapters

SELECTED = 0.5  # the least score of a tag that is scored by the image or the text as a whole


class TTDSelfDistill(WeakgroundModule):
    """Trains a dense CLIP by L_distill + L_tag.

    Args:
        backbone: what compares pixels with texts: MaskCLIP or TCL in the paper.
        adapters: of LoRA, which are trained in place of the backbone's weights; None to train the backbone
            itself, but for the parts of it that are always frozen.
        losses: see there.
        teacher: whose maps select the tags and are the targets.
        contrast: a further loss.
        images: how images are made ready.
        optimisation: optimiser and schedule.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    network: DenseEncoder

    def __init__(
        self,
        backbone: DenseEncoder,
        adapters: LoRAOptions | None = LoRAOptions(),
        losses: LossOptions = LossOptions(),
        teacher: TeacherOptions = SELF_TEACHER,
        contrast: ContrastOptions = ContrastOptions(),
        images: ImageOptions = ImageOptions(),
        optimisation: Optimisation = OPTIMISATION,
    ) -> None:
        super().__init__(optimisation, pretrained=None)
        self.network = backbone
        self.losses = losses
        self.contrast = contrast
        self.images = images
        self.preprocessing = _preprocessing(backbone, images)
        for part in backbone.frozen_parts:
            self.freeze_part(f"network.{part}", brings_weights=True)
        if adapters is not None:
            self.freeze_part("network", brings_weights=backbone.brings_weights)
            add_adapters(backbone, adapters)
        self.teacher_options = teacher
        self.teacher = None if teacher.kind == "self" else Teacher(backbone)
        self._class_vectors: dict[tuple[str, ...], Tensor] = {}

    def train(self, mode: bool = True) -> Self:
        """Forgets the vectors of class names, which change in training."""
        super().train(mode)
        self._class_vectors = {}
        for _, layer in adapted_layers(self.network):
            layer.train(mode)
        return self

    @property
    def needs(self) -> Needs:
        """Images, or what the backbone's frozen towers see in them."""
        return replace(super().needs, features=self._feature_spec)

    @cached_property
    def _feature_spec(self) -> FeatureSpec | None:
        """None where images are cut out at random, or are looked at by what is trained."""
        encoder = self.network.feature_encoder
        if encoder is None or not self.images.always_whole:
            return None
        return feature_spec(encoder, self.images.crop)

    @torch.no_grad()
    def compute_features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) normalised training images -> (N,F) float16, see `python cli.py features`."""
        encoder: Any = self.network.feature_encoder
        return encoder.flatten(encoder.features(images))

    # Training.

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        texts = texts_of(batch.captions)
        pixels = self.network.encode_training_images(batch.images, self.images.crop)
        vectors = self.network.encode_texts(texts.texts)
        valid = valid_cells(batch.padding, (pixels.shape[2], pixels.shape[3]))
        student = self._maps(pixels, vectors, texts, valid)
        terms = ttd_losses(student, self._teacher_maps(batch, batch_idx, texts, valid), self.losses)
        loss = terms.pop("loss")
        if self.contrast.weight:
            captions = vectors[texts.text_of_map[:, 0].to(vectors.device)]
            similarity = caption_similarity(pixels, captions, valid, self.contrast.temperature)
            terms["contrast"] = contrast_of_pairs(self.contrast.scale * similarity)
            loss = loss + self.contrast.weight * terms["contrast"]
        self.log_terms(loss, terms)
        # All processes expect a gradient of each parameter, whatever the captions of their batch.
        return loss + 0 * sum(parameter.sum() for parameter in trained_parameters(self.network))

    def _maps(self, pixels: Tensor, vectors: Tensor, texts: BatchTexts, valid: Tensor | None) -> Maps:
        similarity = similarity_maps(pixels, vectors, texts)
        if self.losses.space == "mask":
            similarity = self.network.soft_mask(similarity)
        return as_maps(similarity, texts, valid)

    def _teacher_maps(
        self, batch: ImageTextBatch, batch_idx: int, texts: BatchTexts, valid: Tensor | None
    ) -> Maps | None:
        """The teacher's maps without gradient; None where the student's own are meant."""
        if self.teacher is None:
            return None
        first_of_step = batch_idx % self.trainer.accumulate_grad_batches == 0
        if self.teacher_options.kind == "ema" and first_of_step:
            self.teacher.move(self.network, self.teacher_options.decay)
        with torch.no_grad(), self.teacher.inside(self.network):
            pixels = self.network.encode_training_images(batch.images, self.images.crop)
            return self._maps(pixels, self.network.encode_texts(texts.texts), texts, valid)

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Soft masks of phrases. See `lightning_modules.capabilities.CanGround`."""
        return self.network.heatmaps(images, phrases, image_of_query)

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines of whole images and texts. See `lightning_modules.capabilities.CanMatch`."""
        return self.network.encode_images(images) @ self.network.encode_texts(texts).T

    @torch.no_grad()
    def segment(
        self, images: Tensor, texts: list[str], are_class_names: bool = True, refine: Refine | None = None
    ) -> Tensor:
        """See `lightning_modules.capabilities.CanSegment`."""
        vectors = self._vectors_of_classes(texts) if are_class_names else self.network.encode_texts(texts)
        return self.network.masks(images, vectors, refine)

    def _vectors_of_classes(self, names: list[str]) -> Tensor:
        """Encoded once for all images: a name is read in as many as 85 sentences."""
        key = tuple(names)
        if key not in self._class_vectors:
            self._class_vectors[key] = self.network.encode_class_names(names)
        return self._class_vectors[key]

    @torch.no_grad()
    def score_tags(
        self, images: Tensor, captions: list[list[str]], kinds: Sequence[TagScore]
    ) -> dict[TagScore, list[ScoredWords]]:
        """See `lightning_modules.capabilities.CanScoreTags`."""
        pixels = self.network.encode_pixels(pad_to_multiple(images, self.network.stride).images)
        rows = pixels.flatten(2).transpose(1, 2)
        return score_captions(captions, rows, kinds, self.network.encode_texts, self._select)

    def _select(self, kind: TagScore, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Final scores of words and which are selected: the paper thresholds what is no map at one half."""
        if kind in ("image", "text"):
            scores = self.network.soft_mask(scores)
            return scores, scores > SELECTED
        if kind == "pixel" and self.losses.space == "mask":
            scores = self.network.soft_mask(scores)
        return scores, select_by_largest_gap(scores)


def _preprocessing(backbone: DenseEncoder, images: ImageOptions) -> Preprocessing:
    return Preprocessing(
        images.eval_size,
        backbone.mean,
        backbone.std,
        images.interpolation,
        resize=images.resize,
        multiple=backbone.stride,
        training=RandomWindow(images.train_sizes, images.crop),
    )
