"""What a text group model can be asked, trained or not: groups of words, similarities, heat maps.

Legend: B captions, K groups, T tokens, E width of the shared space, N images, D width of their vectors,
h x w the patch grid of the image encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.options import IMAGENET_MEAN, IMAGENET_STD, TextOptions
from lightning_modules.text_group.tokenizer import Pieces, opener_ids, read_openers, tokenizer_of
from lightning_modules.vocabulary import check_digest
from networks.groupvit import GroupViTImageEncoder, ImageGroups
from networks.layers.precision import full_precision
from networks.text_group import CausalTransformer, Encoded, TextEncoder, TextGroupTransformer


class TextGroupModule(WeakgroundModule):
    """A text encoder with its tokenizer and, if there is one, a frozen image encoder.

    Args:
        network: `TextGroupTransformer`, or `CausalTransformer`.
        text: how captions become tokens.
        image_encoder: `GroupViTImageEncoder`, frozen; or None where the batches hold image vectors
            (``CaptionVectors``) or none are needed.
        image_weights: of the image encoder: nvidia/groupvit-gcc-yfcc (``.bin`` or ``.safetensors``), or the
            official group_vit_gcc_yfcc_*.pth.
        grounding_temperature: of the soft-max over an image's groups that locates a phrase.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from.

    Raises:
        ModelError: parts that do not fit together.
    """

    network: TextEncoder

    def __init__(
        self,
        network: TextEncoder,
        text: TextOptions,
        image_encoder: GroupViTImageEncoder | None,
        image_weights: Path | None,
        grounding_temperature: float,
        optimisation: Optimisation,
        pretrained: Path | None,
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.network = network
        self.image_encoder = image_encoder
        self.grounding_temperature = grounding_temperature
        self.max_tokens = text.max_tokens
        self.tokenizer = tokenizer_of(text.vocabulary)
        self._check_sizes()
        self.openers = self._set_openers(text.openers)
        if image_encoder is None:  # a vector is an image of one pixel
            self.preprocessing = Preprocessing(1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
            return
        size = image_encoder.image_size
        self.preprocessing = Preprocessing(size, IMAGENET_MEAN, IMAGENET_STD, "bilinear")
        file = PartFile("image_encoder", image_weights, "--model.image_weights")
        self.part_files.append(file)
        self.freeze_part("image_encoder")

    def _check_sizes(self) -> None:
        size = self.network.size
        if self.tokenizer.vocab_size != size.vocab_size:
            raise ModelError(
                f"the vocabulary has {self.tokenizer.vocab_size} tokens and network.size.vocab_size is "
                f"{size.vocab_size}; make them equal."
            )
        if not 3 <= self.max_tokens <= size.max_positions:
            raise ModelError(
                f"text.max_tokens is {self.max_tokens}; it must be between 3 and the network's "
                f"{size.max_positions} positions."
            )
        if self.image_encoder and self.image_encoder.width != size.image_width:
            raise ModelError(
                f"the image encoder's vectors have {self.image_encoder.width} numbers; set "
                "network.size.image_width to that."
            )

    def _set_openers(self, path: Path | None) -> list[int]:
        """The sorted token ids of the openers, which the network now knows; none without a file."""
        if path is None:
            return []
        if not isinstance(self.network, TextGroupTransformer):
            raise ModelError(
                f"{type(self.network).__name__} has no groups and no use for openers: take "
                "--model.text.openers away."
            )
        ids = sorted(opener_ids(read_openers(Path(path)), self.tokenizer))
        self.network.set_openers(ids)
        return ids

    def tokenize(self, captions: Sequence[str]) -> Pieces:
        """Captions as tokens, on the module's device."""
        return self.tokenizer(captions, self.max_tokens, self.device)

    def encode(self, pieces: Pieces) -> Encoded:
        """Tokenised captions -> group vectors and scores."""
        return self.network(pieces.ids, pieces.mask)

    def text_features(self, pieces: Pieces) -> Tensor:
        """Tokenised captions -> their features (B,E), unit length."""
        return self.network.text_feature(self.encode(pieces).groups)

    def image_vectors(self, images: Tensor) -> Tensor:
        """Pooled vectors of images.

        Args:
            images: (N,3,H,W), or such vectors (N,D) already.

        Returns:
            (N,D).

        Raises:
            ModelError: vectors where an encoder wants images, or the other way round, or of another width.
        """
        if self.image_encoder is not None and images.ndim == 4:
            return self.image_encoder(images).pooled
        width = self.network.size.image_width
        if images.ndim != 2 or images.shape[1] != width:
            raise ModelError(
                f"the batch holds images of shape {tuple(images.shape[1:])} where vectors of {width} numbers "
                "are wanted; set --data.vectors, --model.image_encoder, network.size.image_width, or "
                "--model.weights.contrastive 0."
            )
        return images.to(self.network.image_head.weight.dtype)

    # Capabilities.

    @torch.no_grad()
    def assignments(self, captions: Sequence[str]) -> list[tuple[Tensor, list[int]]]:
        """Soft assignments of tokens to groups.

        Args:
            captions: B texts.

        Returns:
            For each caption the assignment (K,T) of its tokens, start and end left out, and the word of every
            token.

        Raises:
            ModelError: the network has no groups.
        """
        if not captions:
            return []
        pieces = self.tokenize(captions)
        scores = self.encode(pieces).scores
        if scores is None:
            raise ModelError(
                f"{type(self.network).__name__} has no groups; `python cli.py spans` clusters its token "
                "vectors."
            )
        soft = scores.softmax(dim=1)
        return [(row[:, 1 : 1 + len(words)], words) for row, words in zip(soft, pieces.words, strict=True)]

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        """The likeliest group of every token. See `lightning_modules.capabilities.CanGroupTokens`."""
        return [(soft.argmax(dim=0).tolist(), words) for soft, words in self.assignments(captions)]

    @torch.no_grad()
    def token_vectors(self, captions: Sequence[str]) -> list[tuple[Tensor, list[int]]]:
        """Last hidden states of `CausalTransformer`.

        Args:
            captions: B texts.

        Returns:
            For each caption the states (T,W) of its tokens, start and end left out, and the word of every
            token.

        Raises:
            ModelError: the network is another one.
        """
        if not isinstance(self.network, CausalTransformer):
            raise ModelError(f"{type(self.network).__name__} gives groups, not token vectors.")
        pieces = self.tokenize(captions)
        vectors = self.network.token_vectors(pieces.ids)
        return [(row[1 : 1 + len(words)], words) for row, words in zip(vectors, pieces.words, strict=True)]

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines (N,M) of images, which may be pooled vectors (N,D), and texts.

        See `lightning_modules.capabilities.CanMatch`.
        """
        features = self.text_features(self.tokenize(texts))
        return self.network.image_feature(self.image_vectors(images)) @ features.t()

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """The image groups that a phrase resembles, each where it lies; not in the paper.

        See `lightning_modules.capabilities.CanGround`.

        Raises:
            ModelError: there is no image encoder.
        """
        image_groups = self._image_groups(images)
        if not phrases:
            return image_groups.maps.new_zeros(0, *image_groups.maps.shape[2:])
        texts = self.text_features(self.tokenize(phrases))
        return self._heatmaps(texts[:, None], image_groups, image_of_query)[:, 0]

    @torch.no_grad()
    def ground_groups(self, images: Tensor, captions: list[str]) -> Tensor:
        """Where each group of a caption lies in its image.

        Args:
            images: (N,3,H,W).
            captions: one for each image.

        Returns:
            (N,K,h,w) in [0,1].

        Raises:
            ModelError: there is no image encoder.
        """
        image_groups = self._image_groups(images)
        groups = self.encode(self.tokenize(captions)).groups
        texts = F.normalize(full_precision(self.network.text_head(groups)), dim=-1)
        return self._heatmaps(texts, image_groups, torch.arange(len(images), device=images.device))

    def _image_groups(self, images: Tensor) -> ImageGroups:
        if self.image_encoder is None:
            raise ModelError(
                "grounding needs an image encoder (--model.image_encoder GroupViTImageEncoder): pooled "
                "vectors say nothing of positions."
            )
        return self.image_encoder(images)

    def _heatmaps(self, texts: Tensor, image_groups: ImageGroups, image_of_query: Tensor) -> Tensor:
        """The maps of an image's groups, weighted by a soft-max over them of their cosines with a text.

        Args:
            texts: features (Q,K,E).
            image_groups: of the images.
            image_of_query: (Q,) long.

        Returns:
            (Q,K,h,w) in [0,1].
        """
        regions = self.network.image_feature(image_groups.groups)[image_of_query]
        weights = (texts @ regions.transpose(1, 2) / self.grounding_temperature).softmax(dim=-1)
        maps = image_groups.maps.float()[image_of_query]
        return torch.einsum("qkm,qmhw->qkhw", weights, maps).clamp(0, 1)

    # Checkpoints remember the vocabulary, without which their embeddings mean nothing.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the vocabulary's fingerprint and the openers."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary_digest"] = self.tokenizer.digest
        checkpoint["openers"] = self.openers

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also refuses the checkpoint of another vocabulary or of other openers.

        Raises:
            ModelError: it was trained with others.
        """
        super().on_load_checkpoint(checkpoint)
        own = self.tokenizer.digest
        check_digest(checkpoint.get("vocabulary_digest", own), own, "--model.text.vocabulary")
        if checkpoint.get("openers", self.openers) != self.openers:
            raise ModelError(
                "the checkpoint was trained with other openers; set --model.text.openers to that file, or to "
                "null if there was none."
            )
