"""What g and g++ share: the network, a frozen encoder of images and texts, and how phrases are grounded.

Legend: N images, B rows of a batch, Q queries, S x S pixels of an image, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch, PhraseBatch, Preprocessing, RandomWindow
from datamodules.handover import Needs
from lightning_modules.base import WeakgroundModule
from lightning_modules.description import Describing
from lightning_modules.loading import PartFile
from lightning_modules.optimisation import Optimisation
from lightning_modules.similarity_map.losses import (
    background_loss,
    foreground_loss,
    resized,
    under_masks,
)
from lightning_modules.similarity_map.options import (
    CLIPUse,
    ImageOptions,
    LossWeights,
    SelfTrainingWeights,
    TextOptions,
)
from networks.image_text_encoder import ImageTextEncoder
from networks.wwbl import WWbL, WWbLSize


class SimilarityMapModule(Describing, WeakgroundModule):
    """Base of g and g++.

    Args:
        clip: the encoder of images and texts, CLIP in the papers. It stays as it is.
        clip_use: its weights, and how it is used.
        size: of the network.
        images: how images are made ready.
        texts: which texts are learnt.
        queries_per_pass: phrases grounded at once; bounds the memory.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    network: WWbL

    def __init__(
        self,
        clip: ImageTextEncoder,
        clip_use: CLIPUse,
        size: WWbLSize,
        images: ImageOptions,
        texts: TextOptions,
        queries_per_pass: int,
        optimisation: Optimisation,
        pretrained: Path | None,
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.network = WWbL(size, clip.dim)
        self.clip = clip
        self.clip_use = clip_use
        self.texts = texts
        self.queries_per_pass = queries_per_pass
        self.preprocessing = _preprocessing(images)
        self.freeze_part("clip", brings_weights=clip.brings_weights)
        self.part_files.append(PartFile("clip", clip_use.pretrained, "--model.clip_use.pretrained"))

    @property
    def needs(self) -> Needs:
        """What this method wants of its data: captions, or phrases of captions."""
        batch = PhraseBatch if self.texts.source == "phrases" else ImageTextBatch
        return Needs(batch, self.preprocessing, type(self).__name__)

    # Texts.

    def training_texts(self, batch: ImageTextBatch | PhraseBatch) -> list[str]:
        """The texts of a training batch, some of their words left out, as the encoder is told them."""
        texts = batch.phrases if isinstance(batch, PhraseBatch) else batch.captions
        return self.prompted([self._with_fewer_words(text) for text in texts])

    def _with_fewer_words(self, text: str) -> str:
        if not self.texts.drop_words:
            return text
        words = text.split()
        kept = (torch.rand(len(words)) >= self.texts.drop_words).tolist()
        return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)

    def prompted(self, texts: Sequence[str]) -> list[str]:
        """Texts with the prompt before them, unless they begin with it already."""
        written = [text.lower() if self.texts.lower else text for text in texts]
        prompt = self.texts.prompt
        return [text if text.startswith(prompt) else f"{prompt}{text}" for text in written]

    # The encoder.

    def clip_precision(self) -> torch.autocast:
        """A context in which the encoder computes in its own precision, whatever the trainer's."""
        bf16 = self.clip_use.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)

    @torch.no_grad()
    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """M texts as the encoder is told them -> (M,D), of length 1."""
        with self.clip_precision():
            return self.clip.encode_texts(texts)

    def image_vectors(self, images: Tensor) -> Tensor:
        """(B,3,s,s) of the encoder's size, normalised as those of the network -> (B,D), of length 1."""
        with self.clip_precision():
            return self.clip.encode_images(self.as_clip_wants(images))

    @torch.no_grad()
    def relevance(self, images: Tensor, texts: Sequence[str], size: Sequence[int]) -> Tensor:
        """What the encoder itself finds relevant to texts.

        Args:
            images: (B,3,s,s) of the encoder's size, normalised as those of the network.
            texts: B texts, one for each image.
            size: height and width of the result.

        Returns:
            (B,h,w) in [0,1].
        """
        with self.clip_precision():
            maps = self.clip.relevance(self.as_clip_wants(images), texts).float()[:, None]
        if maps.shape[-2:] != images.shape[-2:]:
            maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
        return resized(maps, size)[:, 0]

    def as_clip_wants(self, images: Tensor) -> Tensor:
        """Images normalised as those of the network -> as the encoder wants them."""
        if not self.clip_use.own_normalisation:
            return images
        return renormalised(images, self.preprocessing, self.clip.mean, self.clip.std)

    def clip_size(self, maps: Tensor) -> Tensor:
        """(B,C,S,S) images or maps -> at the size of the encoder's images."""
        side = self.clip.image_size
        return resized(maps, (side, side))

    # Losses.

    def log_weighted(self, terms: dict[str, Tensor], weights: LossWeights | SelfTrainingWeights) -> Tensor:
        """The weighted sum of loss terms, which is logged with them."""
        loss = torch.zeros((), device=self.device)
        for name, term in terms.items():
            loss = loss + getattr(weights, name) * term
        self.log_terms(loss, terms)
        return loss

    def clip_terms(
        self, images: Tensor, masks: Tensor, vectors: Tensor, foreground: bool, background: bool
    ) -> dict[str, Tensor]:
        """L_fore and L_back.

        Args:
            images: (B,3,s,s) at the encoder's size.
            masks: (B,s,s), of the same size.
            vectors: (B,D), of the texts.
            foreground: whether L_fore is wanted.
            background: whether L_back is wanted.
        """
        pairs = self.clip_use.pairs
        under, rest = under_masks(images, masks)
        terms = {}
        if foreground:
            terms["foreground"] = foreground_loss(self.image_vectors(under), vectors, pairs)
        if background:
            absolute = self.clip_use.absolute_background
            terms["background"] = background_loss(self.image_vectors(rest), vectors, pairs, absolute)
        return terms

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Masks at the resolution of the images, each of which is encoded once.

        See `lightning_modules.capabilities.CanGround`.
        """
        if not phrases:
            return torch.zeros(0, *images.shape[-2:], device=images.device)
        vectors = self.text_vectors(self.prompted(phrases))
        places = self.network.encode(images).places
        maps = []
        for start in range(0, len(phrases), self.queries_per_pass):
            part = slice(start, start + self.queries_per_pass)
            maps.append(self.network.masks(places[image_of_query[part]], vectors[part], images.shape[-2:]))
        return torch.cat(maps)

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines of the encoder, without a prompt; see `lightning_modules.capabilities.CanMatch`."""
        return self.image_vectors(self.clip_size(images)) @ self.text_vectors(texts).t()

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """The encoder's vectors, without a prompt; see `lightning_modules.capabilities.CanDescribe`."""
        return self.text_vectors(texts)


def _preprocessing(images: ImageOptions) -> Preprocessing:
    training = None
    if images.train_size != images.eval_size:
        training = RandomWindow((images.train_size, images.train_size), images.train_size)
    return Preprocessing(
        images.eval_size, images.mean, images.std, images.interpolation, resize="square", training=training
    )


def renormalised(images: Tensor, old: Preprocessing, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (N,3,H,W) that were normalised one way, normalised another way.

    Example:
        >>> old = Preprocessing(1, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> renormalised(torch.ones(1, 3, 1, 1), old, (0.0,) * 3, (1.0,) * 3).flatten().tolist()
        [1.0, 1.0, 1.0]
    """

    def channels(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=images.device).view(1, 3, 1, 1)

    pixels = images * channels(old.std) + channels(old.mean)
    return (pixels - channels(mean)) / channels(std)
