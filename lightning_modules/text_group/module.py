"""Text group discovery: "Discovering Meaningful Units with Visually Grounded Semantics from Image Captions"
(called the paper here).

Only captions are grouped; images are pooled vectors of a frozen encoder.
Legend: B captions, K groups, T tokens, E width of the shared space, D of image vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch, Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.gradient_cache import encode_without_graph, loss_and_gradients, replayed
from lightning_modules.text_group.losses import (
    Reduction,
    balance_loss,
    contrastive_loss,
    target_weights,
    vocabulary_cross_entropy,
)
from lightning_modules.text_group.tokenizer import Pieces, Tokenizer, opener_ids, read_openers, tokenizer_of
from lightning_modules.text_group.weights import read_image_weights
from networks.groupvit import GroupViTImageEncoder, ImageGroups
from networks.text_group import CausalTransformer, Encoded, TextEncoder, TextGroupTransformer, full_precision

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class WholeBatch(NamedTuple):
    """What the captions of a batch must know of all of it.

    Args:
        captions: of this process's batch.
        tokens: to be predicted in it, the mean over processes.
        words: its sorted token ids, where they are the candidates of the reconstruction; else None.
    """

    captions: int
    tokens: float
    words: Tensor | None


class TextGroupDiscovery(WeakgroundModule):
    """Groups the words of captions: a contrastive loss with images, and a reconstruction of the caption from
    its group vectors.

    Args:
        network: `TextGroupTransformer`, or `CausalTransformer`, the paper's baseline, which has no
            reconstruction.
        image_encoder: `GroupViTImageEncoder`, frozen; or None where the batches hold image vectors
            (``CaptionVectors``) or none are needed.
        image_weights: of ``image_encoder``: nvidia/groupvit-gcc-yfcc (``.bin`` or ``.safetensors``), or the
            official group_vit_gcc_yfcc_*.pth.
        optimisation, pretrained: as for every method.
        vocabulary: None for CLIP's 49,408 byte pairs; or a file, see `tokenizer_of`.
        openers: file of words at which captions are cut into units, see `read_openers` and
            `TextGroupTransformer.know_openers`; not in the paper.
        max_tokens: longest caption, start and end included.
        contrastive_weight, reconstruction_weight: of the two losses; the paper's lambda is the latter, 1. 0
            leaves a loss out, work and all (table 4).
        balance_weight: of `balance_loss`, which asks every caption to use all of its groups; 0 in the paper.
        reduction: of the reconstruction, see `target_weights`. The paper's equation prints a sum over the
            batch beside a contrastive mean.
        temperature: of the contrastive loss, fixed.
        cache_chunk: captions encoded at a time (gradient caching), whatever the batch; None encodes all at
            once.
        logits_chunk: rows of vocabulary logits at a time.
        candidates: words among which the reconstruction chooses: those of the ``vocabulary`` (the paper's),
            or those of this process's ``batch``, which costs a fraction and, on Flickr30k, led to better
            groups.
        max_gradient_norm: gradients are clipped to it (5 in GroupViT's recipe). ``trainer.gradient_clip_val``
            cannot be used here.
        ground_temperature: of the soft-max over an image's groups in `ground`.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    network: TextEncoder

    def __init__(
        self,
        network: TextEncoder,
        image_encoder: GroupViTImageEncoder | None = None,
        image_weights: Path | None = None,
        optimisation: Optimisation = Optimisation(lr=1.6e-3, weight_decay=0.05, warmup_lr=4e-6, min_lr=4e-5),  # noqa: B008 (frozen)
        pretrained: Path | None = None,
        vocabulary: Path | None = None,
        openers: Path | None = None,
        max_tokens: int = 77,
        contrastive_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        balance_weight: float = 0.0,
        reduction: Reduction = "token_mean",
        temperature: float = 0.07,
        cache_chunk: int | None = None,
        logits_chunk: int = 1024,
        candidates: Literal["vocabulary", "batch"] = "vocabulary",
        max_gradient_norm: float | None = 5.0,
        ground_temperature: float = 0.07,
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.automatic_optimization = False
        self.network, self.image_encoder, self.image_weights = network, image_encoder, image_weights
        self.tokenizer: Tokenizer = tokenizer_of(vocabulary)
        self._check(network, image_encoder, max_tokens, cache_chunk)
        self.openers = sorted(opener_ids(read_openers(Path(openers)), self.tokenizer)) if openers else []
        if isinstance(network, TextGroupTransformer):
            network.know_openers(self.openers)
        elif openers:
            raise ModelError(
                f"{type(network).__name__} has no groups and no use for openers: take --model.openers away."
            )
        size = image_encoder.image_size if image_encoder else 1  # a vector is an image of one pixel
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if image_encoder else ((0.0,) * 3, (1.0,) * 3)
        self.preprocessing = Preprocessing(size, mean, std, "bilinear")
        self.max_tokens, self.cache_chunk, self.logits_chunk = max_tokens, cache_chunk, logits_chunk
        self.contrastive_weight, self.balance_weight = contrastive_weight, balance_weight
        self.reconstruction_weight = reconstruction_weight if network.decoder is not None else 0.0
        self.reduction, self.candidates, self.temperature = reduction, candidates, temperature
        self.max_gradient_norm, self.ground_temperature = max_gradient_norm, ground_temperature
        if not self.contrastive_weight and not self.reconstruction_weight:
            raise ModelError(
                "nothing is left to learn from: set --model.contrastive_weight or, with a TextGroupTransformer, --model.reconstruction_weight."
            )
        # What no loss reaches would make several processes wait for its gradient.
        for part, weight in (
            (network.decoder, self.reconstruction_weight),
            (network.text_head, contrastive_weight),
            (network.image_head, contrastive_weight),
        ):
            if part is not None and not weight:
                part.requires_grad_(False)

    def _check(
        self,
        network: TextEncoder,
        image_encoder: GroupViTImageEncoder | None,
        max_tokens: int,
        cache_chunk: int | None,
    ) -> None:
        if self.tokenizer.vocab_size != network.vocab_size:
            raise ModelError(
                f"the vocabulary has {self.tokenizer.vocab_size} tokens and network.vocab_size is {network.vocab_size}; make them equal."
            )
        if not 3 <= max_tokens <= network.max_positions:
            raise ModelError(
                f"max_tokens is {max_tokens}; it must be between 3 and the network's {network.max_positions} positions."
            )
        if image_encoder and image_encoder.width != network.image_width:
            raise ModelError(
                f"the image encoder's vectors have {image_encoder.width} numbers; set network.image_width to that."
            )
        if cache_chunk is not None and cache_chunk < 1:
            raise ModelError("cache_chunk must be at least 1, or left out.")

    def setup(self, stage: str) -> None:
        """Also loads the image encoder's weights, unless a checkpoint, which holds them, is about to be
        loaded.
        """
        super().setup(stage)
        if self.image_encoder and self.image_weights and not self.trainer.ckpt_path:
            rank_zero_info(read_image_weights(self.image_encoder, Path(self.image_weights)))

    # Training.

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> None:
        pieces = self.tokenize(batch.captions)
        vectors = self.image_vectors(batch.images) if self.contrastive_weight else None
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.backward_step(pieces, vectors)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        schedule.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the norm of all gradients, then clips them; here, where a scaler of half precision has taken
        its factor back.
        """
        super().on_before_optimizer_step(optimizer)
        if self.max_gradient_norm:
            self.clip_gradients(
                optimizer, gradient_clip_val=self.max_gradient_norm, gradient_clip_algorithm="norm"
            )

    def backward_step(self, pieces: Pieces, vectors: Tensor | None) -> None:
        """Adds the gradients of a batch, of which all is encoded at once or ``cache_chunk`` captions at a
        time, and logs its losses.

        Args:
            vectors: pooled image vectors (B,D); None without the contrastive loss.
        """
        parts = pieces.split(self.cache_chunk or len(pieces.ids))
        images = self.network.image_feature(vectors) if vectors is not None else None
        if len(parts) == 1:
            encoded = self.encode(pieces)
            terms = {}
            if images is not None:
                terms["contrastive"] = self.contrast(images, self.network.text_feature(encoded.groups))
            terms |= self.text_terms(pieces, encoded, self.whole_batch(pieces))
            loss = self.weigh(terms)
            self.log_terms(loss, terms)
            self.manual_backward(loss)
        else:
            self._cached_backward(pieces, parts, images)

    def _cached_backward(self, pieces: Pieces, parts: list[Pieces], images: Tensor | None) -> None:
        batch = self.whole_batch(pieces)
        terms: dict[str, Tensor] = {}
        states: list[Any] = [None] * len(parts)
        gradients: Sequence[Tensor | None] = [None] * len(parts)
        ends: list[Tensor] = []
        if images is not None:
            texts, states = encode_without_graph(
                lambda part: self.network.text_feature(self.encode(part).groups), parts, self.device
            )
            terms["contrastive"], (of_images, of_texts) = loss_and_gradients(
                lambda *leaves: self.contrastive_weight * self.contrast(*leaves), images, texts
            )
            terms["contrastive"] = terms["contrastive"] / self.contrastive_weight
            gradients = of_texts.split([len(part.ids) for part in parts])
            ends = [(images * of_images).sum()]
        for number, (part, state, gradient) in enumerate(zip(parts, states, gradients, strict=True)):
            last = number == len(parts) - 1
            with replayed(state, self.device) if state else nullcontext(), self.without_sync(not last):
                encoded = self.encode(part)
                share = (
                    [(self.network.text_feature(encoded.groups) * gradient).sum()]
                    if gradient is not None
                    else []
                )
                found = self.text_terms(part, encoded, batch)
                share += [self.weigh(found)] if found else []
                terms |= {name: terms.get(name, 0.0) + term.detach() for name, term in found.items()}
                # With the images' term the last graph reaches every parameter, as the reducer of several
                # processes expects.
                self.manual_backward(torch.stack([*share, *(ends if last else [])]).sum())
        self.log_terms(self.weigh(terms), terms)

    def without_sync(self, active: bool) -> Any:
        """A context in which gradients are not yet added over processes."""
        strategy: Any = self.trainer.strategy
        return (
            strategy.block_backward_sync()
            if active and hasattr(strategy, "block_backward_sync")
            else nullcontext()
        )

    def weigh(self, terms: dict[str, Tensor]) -> Tensor:
        weights = {
            "contrastive": self.contrastive_weight,
            "reconstruction": self.reconstruction_weight,
            "balance": self.balance_weight,
        }
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """The contrastive loss over the batches of all processes, from this one's features (B,E)."""
        world = self.trainer.world_size
        if world == 1:
            return contrastive_loss(images, texts, self.temperature)
        everywhere = []
        for own in (images, texts):
            gathered = list(self.all_gather(own.detach()))
            gathered[self.trainer.global_rank] = own
            everywhere.append(torch.cat(gathered))
        loss = contrastive_loss(everywhere[0], everywhere[1], self.temperature)
        # Each process has the gradient of its own rows only, and their reducer takes the mean where the sum
        # is wanted.
        return loss.detach() + world * (loss - loss.detach())

    def whole_batch(self, pieces: Pieces) -> WholeBatch:
        tokens = pieces.mask[:, 1:].sum().float()
        tokens = (
            self.trainer.strategy.reduce(tokens, reduce_op="mean") if self.trainer.world_size > 1 else tokens
        )
        words = pieces.ids[pieces.mask].unique() if self.candidates == "batch" else None
        return WholeBatch(len(pieces.ids), float(tokens), words)

    def text_terms(self, pieces: Pieces, encoded: Encoded, batch: WholeBatch) -> dict[str, Tensor]:
        """The share that these captions have in the batch's losses of text alone."""
        terms = {}
        if self.reconstruction_weight:
            terms["reconstruction"] = self.reconstruction(pieces, encoded, batch)
        if self.balance_weight and encoded.raw is not None:
            inner = (
                pieces.mask & (pieces.ids != self.tokenizer.start_id) & (pieces.ids != self.tokenizer.end_id)
            )
            terms["balance"] = balance_loss(encoded.raw, inner) * (len(pieces.ids) / batch.captions)
        return terms

    def reconstruction(self, pieces: Pieces, encoded: Encoded, batch: WholeBatch) -> Tensor:
        """The part of the batch's reconstruction loss (the paper's equations 9 and 10) that these captions
        make up.
        """
        assert isinstance(self.network, TextGroupTransformer)
        targets = pieces.mask[:, 1:]
        weights = target_weights(targets, self.reduction, batch.captions, batch.tokens)
        hidden = self.network.decode(pieces.ids, encoded.groups)
        ids, embedding = pieces.ids[:, 1:][targets], self.network.token_embedding.weight
        if batch.words is not None:
            ids, embedding = torch.searchsorted(batch.words, ids), embedding[batch.words]
        return vocabulary_cross_entropy(hidden[targets], embedding, ids, weights[targets], self.logits_chunk)

    def tokenize(self, captions: Sequence[str]) -> Pieces:
        return self.tokenizer(captions, self.max_tokens, self.device)

    def encode(self, pieces: Pieces) -> Encoded:
        return self.network(pieces.ids, pieces.mask)

    def image_vectors(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> pooled (N,D) by the frozen encoder; (N,D) are such vectors already.

        Raises:
            ModelError: vectors where an encoder wants images, or the other way round, or of another width.
        """
        if self.image_encoder is not None and images.ndim == 4:
            return self.image_encoder(images).pooled
        if images.ndim != 2 or images.shape[1] != self.network.image_width:
            raise ModelError(
                f"the batch holds images of shape {tuple(images.shape[1:])} where vectors of {self.network.image_width} numbers are wanted; set "
                "--data.vectors, --model.image_encoder, network.image_width, or --model.contrastive_weight 0."
            )
        return images.to(self.network.image_head.weight.dtype)

    # Capabilities.

    @torch.no_grad()
    def assignments(self, captions: Sequence[str]) -> list[tuple[Tensor, list[int]]]:
        """For each caption the soft assignment (K,T) of its tokens, start and end left out, and the word of
        every token.

        Raises:
            ModelError: the network has no groups.
        """
        if not captions:
            return []
        pieces = self.tokenize(captions)
        raw = self.encode(pieces).raw
        if raw is None:
            raise ModelError(
                f"{type(self.network).__name__} has no groups; `python cli.py spans` clusters its token vectors."
            )
        soft = raw.softmax(dim=1)
        return [(row[:, 1 : 1 + len(words)], words) for row, words in zip(soft, pieces.words, strict=True)]

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        """The likeliest group of every token. See `lightning_modules.base.CanGroupTokens`."""
        return [(soft.argmax(dim=0).tolist(), words) for soft, words in self.assignments(captions)]

    @torch.no_grad()
    def token_vectors(self, captions: Sequence[str]) -> list[tuple[Tensor, list[int]]]:
        """For each caption the last hidden states (T,W) of `CausalTransformer`, start and end left out, and
        the word of every token.
        """
        if not isinstance(self.network, CausalTransformer):
            raise ModelError(f"{type(self.network).__name__} gives groups, not token vectors.")
        pieces = self.tokenize(captions)
        vectors = self.network.token_vectors(pieces.ids)
        return [(row[1 : 1 + len(words)], words) for row, words in zip(vectors, pieces.words, strict=True)]

    @torch.no_grad()
    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """Cosines (N,M). See `lightning_modules.base.CanMatch`; images may also be pooled vectors (N,D)."""
        features = self.network.text_feature(self.encode(self.tokenize(texts)).groups)
        return self.network.image_feature(self.image_vectors(images)) @ features.t()

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """The image groups that a phrase resembles, each where it lies. See
        `lightning_modules.base.CanGround`. Not in the paper.

        Raises:
            ModelError: there is no image encoder.
        """
        found = self._image_groups(images)
        if not phrases:
            return found.maps.new_zeros(0, *found.maps.shape[2:])
        texts = self.network.text_feature(self.encode(self.tokenize(phrases)).groups)
        return self._place(texts[:, None], found, image_of_query)[:, 0]

    @torch.no_grad()
    def ground_groups(self, images: Tensor, captions: list[str]) -> Tensor:
        """Where each group of a caption lies in its image: N images and their captions -> (N,K,h,w) in [0,1]."""
        found = self._image_groups(images)
        groups = self.encode(self.tokenize(captions)).groups
        texts = F.normalize(full_precision(self.network.text_head(groups)), dim=-1)
        return self._place(texts, found, torch.arange(len(images), device=images.device))

    def _image_groups(self, images: Tensor) -> ImageGroups:
        if self.image_encoder is None:
            raise ModelError(
                "grounding needs an image encoder (--model.image_encoder GroupViTImageEncoder): pooled vectors say nothing of places."
            )
        return self.image_encoder(images)

    def _place(self, texts: Tensor, found: ImageGroups, image_of_query: Tensor) -> Tensor:
        """Texts (Q,K,E) -> (Q,K,h,w): the maps of the image's groups, weighted by a soft-max over them of
        their cosines.
        """
        regions = self.network.image_feature(found.groups)[image_of_query]
        weights = (texts @ regions.transpose(1, 2) / self.ground_temperature).softmax(dim=-1)
        return torch.einsum("qkm,qmhw->qkhw", weights, found.maps.float()[image_of_query]).clamp(0, 1)

    # Checkpoints remember the vocabulary, without which their embeddings mean nothing.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["vocabulary_digest"], checkpoint["openers"] = self.tokenizer.digest, self.openers

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if checkpoint.get("vocabulary_digest", self.tokenizer.digest) != self.tokenizer.digest:
            raise ModelError(
                "the checkpoint was trained with another vocabulary; set --model.vocabulary to that file."
            )
        if checkpoint.get("openers", self.openers) != self.openers:
            raise ModelError(
                "the checkpoint was trained with other openers; set --model.openers to that file, or to null if there was none."
            )
