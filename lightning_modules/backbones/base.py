"""The contract of a vision-language backbone: what a method may ask of the network that it is built upon.

A backbone knows one network: how its texts are written, how images and texts are encoded, compared and fused,
what its pre-training losses are, and how a phrase is located. Methods such as HIST are written against this
contract alone, so that the same method runs on ALBEF and on BLIP.

Legend: N images, B rows of a training batch, M texts, h x w the grid of a map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from datamodules.batches import Preprocessing
from datamodules.handover import FeatureSpec
from lightning_modules.backbones.options import MapOptions
from networks.layers.class_activation import minmax


@dataclass(frozen=True)
class TrainingStep:
    """Where a run stands, as far as a backbone's losses depend on it.

    Args:
        epochs_done: epochs since the start, with fractions.
        first_of_accumulation: whether this batch begins an optimiser step; momentum models move once a step.
        gather: (B,...) of this process -> rows of all processes.
    """

    epochs_done: float
    first_of_accumulation: bool
    gather: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Texts:
    """A text for each image of a batch.

    Args:
        texts: B texts.
        prefix: what the names of their loss terms begin with.
    """

    texts: Sequence[str]
    prefix: str = ""


class VisionLanguageBackbone(ABC):
    """Base of all backbones. It is no module: the method owns ``network``, and so do its checkpoints.

    Attributes:
        network: the network, under its official key names.
        preprocessing: of its images.
        maps: how maps are made.
        match_scores_add_similarity: whether retrieval ranks by the sum of `match_scores` and the cosine, as
            BLIP's public code does, or by the former alone, as ALBEF's does.
        language_term: the name of the language loss among the terms of `losses`.
        fingerprint: of the vocabulary, without which the weights of a checkpoint mean nothing.
        frozen_parts: names of the network's parts that are not trained.
        brings_weights: whether these have their final weights from the moment they are made.
        feature_spec: what of images can be stored in place of them; None where the network is trained from
            the pixels on.
    """

    language_term: ClassVar[str]
    match_scores_add_similarity: ClassVar[bool] = False
    network: nn.Module
    preprocessing: Preprocessing
    maps: MapOptions
    fingerprint: str
    frozen_parts: Sequence[str] = ()
    brings_weights: bool = False
    feature_spec: FeatureSpec | None = None

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """(h, w) of every map."""

    # Training.

    def compute_features(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,F) float16, what ``feature_spec`` describes."""
        raise NotImplementedError(f"{type(self).__name__} is trained from the pixels on")

    @abstractmethod
    def encode_for_training(self, images: Tensor, step: TrainingStep) -> Any:
        """Encodes (B,3,H,W) images, or their stored features, once for all texts of a step.

        Momentum models are included.
        """

    @abstractmethod
    def losses(
        self,
        encoded: Any,
        levels: Sequence[Texts],
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> dict[str, Tensor]:
        """ITC and ITM of the images with the texts of every level, and the language loss of the first level.

        Args:
            encoded: from `encode_for_training`.
            levels: B texts each.
            step: where the run stands.
            mentioned: what all captions of each image mention, if known: no negatives of it.

        Returns:
            ``<prefix>itc`` and ``<prefix>itm`` of each level, and the language loss.
        """

    @abstractmethod
    def training_maps(
        self, encoded: Any, texts: Sequence[str], image_of_text: Tensor, kinds: int = 1
    ) -> Tensor:
        """Raw maps (M,h,w) that a loss may differentiate.

        Args:
            encoded: from `encode_for_training`.
            texts: M texts.
            image_of_text: (M,) long, into the images.
            kinds: the texts are this many equally long batches, one after the other.
        """

    # Inference; the caller has gradients off.

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """(N,3,H,W) images -> image tokens."""

    @abstractmethod
    def raw_maps(self, encoded: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """Raw maps (M,h,w) of texts in full length, each on its image."""

    @abstractmethod
    def image_features(self, encoded: Tensor) -> Tensor:
        """Contrastive features (N,E) of images that `encode` encoded, L2-normalised."""

    @abstractmethod
    def full_text_features(self, texts: Sequence[str]) -> Tensor:
        """Contrastive features (M,E) of texts in full length, L2-normalised."""

    @abstractmethod
    def match_scores(self, encoded: Tensor, texts: Sequence[str], image_of_text: Tensor) -> Tensor:
        """How well texts in full length match their images, read together: (M,), any real number.

        Args:
            encoded: images, from `encode`.
            texts: M texts.
            image_of_text: (M,) long, into the images.
        """

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(N,3,H,W) images and M texts -> (N,M) cosines of their contrastive features."""
        text_features = self.full_text_features(texts)
        return self.image_features(self.encode(images)) @ text_features.t()

    def heatmaps(self, images: Tensor, phrases: Sequence[str], image_of_query: Tensor) -> Tensor:
        """Maps (M,h,w), each scaled to [0,1]; every image is encoded once."""
        if not phrases:
            return torch.zeros(0, *self.grid, device=images.device)
        encoded = self.encode(images)
        size = self.maps.queries_per_pass
        passes = [slice(start, start + size) for start in range(0, len(phrases), size)]
        return torch.cat(
            [minmax(self.raw_maps(encoded, phrases[part], image_of_query[part])) for part in passes]
        )
