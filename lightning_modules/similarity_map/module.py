"""g++: "Similarity Maps for Self-Training Weakly-Supervised Phrase Grounding" (called the paper here).

A teacher g says where a text is; a student, which starts from g, learns from a tidier version of that: the
average of the similarity maps of g's own features that overlap with the teacher's mask.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.loading import PartFile
from lightning_modules.optimisation import Optimisation
from lightning_modules.similarity_map.base import SimilarityMapModule, renormalised
from lightning_modules.similarity_map.losses import area_loss, pseudo_label_loss
from lightning_modules.similarity_map.options import (
    FROZEN_TEACHER,
    SELF_TRAINING,
    CLIPUse,
    ImageOptions,
    SelfTrainingWeights,
    TextOptions,
)
from lightning_modules.similarity_map.pseudo_labels import PseudoLabelOptions, aggregate, self_similarity
from lightning_modules.teacher import TeacherOptions
from networks.image_text_encoder import ImageTextEncoder
from networks.image_trunks import ImageTrunk
from networks.wwbl import ImageFeatures, WWbL, WWbLSize


class SimilarityMapSelfTraining(SimilarityMapModule):
    """Trains g++: L_pseudo + L_fore + L_back + L_reg.

    Args:
        clip: the encoder of images and texts, CLIP in the paper. It stays as it is.
        clip_use: its weights, and how it is used.
        size: of the network.
        weights: of the losses.
        labels: how pseudo-labels are made.
        teacher: whose masks and features make them.
        answer: what `ground` returns: the student's ``mask``, or the ``pseudo_label`` of the student as it
            is, which for g is "Mbar of g" of the paper.
        images: how images are made ready.
        texts: which texts are learnt.
        queries_per_pass: phrases grounded at once; bounds the memory.
        optimisation: optimiser and schedule.
        pretrained: weights of g, from which teacher and student start: a published file, or a checkpoint of
            this project.
    """

    def __init__(
        self,
        clip: ImageTextEncoder,
        clip_use: CLIPUse = CLIPUse(),
        size: WWbLSize = WWbLSize(),
        weights: SelfTrainingWeights = SelfTrainingWeights(),
        labels: PseudoLabelOptions = PseudoLabelOptions(),
        teacher: TeacherOptions = FROZEN_TEACHER,
        answer: Literal["mask", "pseudo_label"] = "mask",
        images: ImageOptions = ImageOptions(),
        texts: TextOptions = TextOptions(),
        queries_per_pass: int = 32,
        optimisation: Optimisation = SELF_TRAINING,
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(clip, clip_use, size, images, texts, queries_per_pass, optimisation, pretrained)
        self.weights = weights
        self.labels = labels
        self.teacher_options = teacher
        self.answer = answer
        self.teacher: WWbL | None = None
        if teacher.kind != "self":
            self.teacher = deepcopy(self.network)
            self.freeze_part("teacher")
        self.similarity_trunk: ImageTrunk | None = None
        if labels.trunk.name is not None:
            self.similarity_trunk = ImageTrunk(labels.trunk.name, labels.trunk.stride)
            self.freeze_part("similarity_trunk")
            option = "--model.labels.trunk.pretrained"
            self.part_files.append(PartFile("similarity_trunk", labels.trunk.pretrained, option))

    def setup(self, stage: str) -> None:
        """The teacher starts as the student does. A checkpoint, which holds both, is loaded afterwards."""
        super().setup(stage)
        if self.teacher is not None:
            self.teacher.load_state_dict(self.network.state_dict())

    # Training.

    def training_step(self, batch: ImageTextBatch | PhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        if self.teacher_options.kind == "ema" and batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.move_teacher()
        vectors = self.text_vectors(self.training_texts(batch))
        terms = self.loss_terms(batch.images, vectors)
        return self.log_weighted(terms, self.weights)

    def loss_terms(self, images: Tensor, vectors: Tensor) -> dict[str, Tensor]:
        """The losses that have a weight.

        Args:
            images: (B,3,S,S).
            vectors: (B,D), of the texts.
        """
        masks = self.network(images, vectors)
        weights = self.weights
        terms: dict[str, Tensor] = {}
        if weights.pseudo:
            labels = self.teacher_labels(images, vectors)
            terms["pseudo"] = pseudo_label_loss(masks, labels, weights.pseudo_reduction)
        clip_masks = self.clip_size(masks[:, None])[:, 0]
        if weights.foreground or weights.background:
            terms |= self.clip_terms(
                self.clip_size(images),
                clip_masks,
                vectors,
                bool(weights.foreground),
                bool(weights.background),
            )
        if weights.area:
            terms["area"] = area_loss(clip_masks, weights.area_norm)
        return terms

    @torch.no_grad()
    def teacher_labels(self, images: Tensor, vectors: Tensor) -> Tensor:
        """Pseudo-labels (B,h,w) of images (B,3,S,S) and the vectors (B,D) of their texts."""
        teacher = self.network if self.teacher is None else self.teacher
        training = teacher.training
        teacher.eval()
        features = teacher.encode(images)
        masks = teacher.masks(features.places, vectors, images.shape[-2:])
        teacher.train(training)
        compared = self.compared_features(images, features)
        similarities = self_similarity(compared, self.labels.centre)
        return aggregate(similarities, compared.shape[-2:], masks, self.labels)

    def compared_features(self, images: Tensor, features: ImageFeatures) -> Tensor:
        """The features (N,C,h,w) whose cosines are the similarities.

        Args:
            images: (N,3,S,S).
            features: of g.
        """
        if self.similarity_trunk is not None:
            trunk = self.labels.trunk
            return self.similarity_trunk(renormalised(images, self.preprocessing, trunk.mean, trunk.std))
        if self.labels.features == "encoder":
            return features.trunk
        return features.signed if self.labels.features == "pre_relu" else features.places

    @torch.no_grad()
    def move_teacher(self) -> None:
        """The teacher's step towards the student."""
        assert self.teacher is not None
        student = self.network.state_dict()
        for name, tensor in self.teacher.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(student[name], 1 - self.teacher_options.decay)
            else:
                tensor.copy_(student[name])

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """The student's masks, or pseudo-labels made of them.

        See `lightning_modules.capabilities.CanGround`.
        """
        masks = super().ground(images, phrases, image_of_query)
        if self.answer == "mask" or not phrases:
            return masks
        compared = self.compared_features(images, self.network.encode(images))
        similarities = self_similarity(compared, self.labels.centre)
        labels = []
        for start in range(0, len(phrases), self.queries_per_pass):
            part = slice(start, start + self.queries_per_pass)
            chosen = similarities[image_of_query[part]]
            labels.append(aggregate(chosen, compared.shape[-2:], masks[part], self.labels))
        return torch.cat(labels).clamp(0, 1)
