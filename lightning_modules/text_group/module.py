"""Text group discovery.

"Discovering Meaningful Units with Visually Grounded Semantics from Image Captions" (called the paper here).
Only captions are grouped; images are pooled vectors of a frozen encoder.

Legend: B captions, K groups, T tokens, E width of the shared space, N images, D width of their vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.gradient_cache import (
    RandomState,
    encode_without_graph,
    loss_and_gradients,
    replayed,
)
from lightning_modules.text_group.inference import TextGroupModule
from lightning_modules.text_group.losses import (
    balance_loss,
    contrastive_loss,
    target_weights,
    vocabulary_cross_entropy,
)
from lightning_modules.text_group.options import (
    LossWeights,
    MemoryOptions,
    ReconstructionOptions,
    TextOptions,
)
from lightning_modules.text_group.tokenizer import Pieces
from networks.groupvit import GroupViTImageEncoder
from networks.text_group import Encoded, TextEncoder, TextGroupTransformer

# GroupViT's recipe where the paper leaves it open.
GROUPVIT_OPTIMISATION = Optimisation(lr=1.6e-3, weight_decay=0.05, warmup_lr=4e-6, min_lr=4e-5)


class WholeBatch(NamedTuple):
    """What a part of a batch must know of all of it.

    Args:
        captions: of this process's batch.
        tokens: to be predicted in it, the mean over processes.
        words: its sorted token ids, where they are the candidates of the reconstruction; else None.
    """

    captions: int
    tokens: float
    words: Tensor | None


class TextGroupDiscovery(TextGroupModule):
    """Groups the words of captions.

    It learns from a contrastive loss with images, and from a reconstruction of the caption from its group
    vectors.

    Args:
        network: `TextGroupTransformer`, or `CausalTransformer`, the paper's baseline, which has no
            reconstruction.
        text: how captions become tokens.
        image_encoder: `GroupViTImageEncoder`, frozen; or None where the batches hold image vectors
            (``CaptionVectors``) or none are needed.
        image_weights: of the image encoder: nvidia/groupvit-gcc-yfcc (``.bin`` or ``.safetensors``), or the
            official group_vit_gcc_yfcc_*.pth.
        weights: of the losses.
        reconstruction: what it chooses from, and how it is averaged.
        memory: bounds of the memory.
        temperature: by which the contrastive loss divides cosines; fixed.
        grounding_temperature: of the soft-max over an image's groups that locates a phrase.
        max_gradient_norm: gradients are clipped to it (5 in GroupViT's recipe). ``trainer.gradient_clip_val``
            cannot be used here, since the steps of the optimiser are made by hand.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: a checkpoint of this project.

    Raises:
        ModelError: parts that do not fit together, or nothing to learn from.
    """

    train_batch: ClassVar[type] = ImageTextBatch

    def __init__(
        self,
        network: TextEncoder,
        text: TextOptions = TextOptions(),
        image_encoder: GroupViTImageEncoder | None = None,
        image_weights: Path | None = None,
        weights: LossWeights = LossWeights(),
        reconstruction: ReconstructionOptions = ReconstructionOptions(),
        memory: MemoryOptions = MemoryOptions(),
        temperature: float = 0.07,
        grounding_temperature: float = 0.07,
        max_gradient_norm: float | None = 5.0,
        optimisation: Optimisation = GROUPVIT_OPTIMISATION,
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(
            network, text, image_encoder, image_weights, grounding_temperature, optimisation, pretrained
        )
        self.automatic_optimization = False
        self.weights = weights
        self.reconstruction = reconstruction
        self.memory = memory
        self.temperature = temperature
        self.max_gradient_norm = max_gradient_norm
        self._freeze_what_no_loss_reaches()

    def _freeze_what_no_loss_reaches(self) -> None:
        """Several processes would wait for the gradients of such parts."""
        network = self.network
        reconstructs = self.weights.reconstruction and network.decoder is not None
        if not self.weights.contrastive and not reconstructs:
            raise ModelError(
                "nothing is left to learn from: set --model.weights.contrastive or, with a "
                "TextGroupTransformer, --model.weights.reconstruction."
            )
        if not self.weights.contrastive:
            network.text_head.requires_grad_(False)
            network.image_head.requires_grad_(False)
        if network.decoder is not None and not reconstructs:
            network.decoder.requires_grad_(False)

    # Training.

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> None:
        """One step of the optimiser."""
        pieces = self.tokenize(batch.captions)
        vectors = self.image_vectors(batch.images) if self.weights.contrastive else None
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.backward_step(pieces, vectors)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        schedule.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the norm of all gradients, then clips them.

        Here a scaler of half precision has taken its factor back.
        """
        super().on_before_optimizer_step(optimizer)
        if self.max_gradient_norm:
            self.clip_gradients(
                optimizer, gradient_clip_val=self.max_gradient_norm, gradient_clip_algorithm="norm"
            )

    def backward_step(self, pieces: Pieces, vectors: Tensor | None) -> None:
        """Adds the gradients of a batch, and logs its losses.

        All is encoded at once, or ``memory.cache_chunk`` captions at a time.

        Args:
            pieces: B tokenised captions.
            vectors: pooled image vectors (B,D); None without the contrastive loss.
        """
        parts = pieces.split(self.memory.cache_chunk or len(pieces.ids))
        images = self.network.image_feature(vectors) if vectors is not None else None
        if len(parts) > 1:
            self._cached_backward(pieces, parts, images)
            return
        encoded = self.encode(pieces)
        terms = {}
        if images is not None:
            terms["contrastive"] = self.contrast(images, self.network.text_feature(encoded.groups))
        terms |= self.text_terms(pieces, encoded, self.whole_batch(pieces))
        loss = self.weigh(terms)
        self.log_terms(loss, terms)
        self.manual_backward(loss)

    def _cached_backward(self, pieces: Pieces, parts: list[Pieces], images: Tensor | None) -> None:
        """Gradient caching; see `lightning_modules.text_group.gradient_cache`."""
        batch = self.whole_batch(pieces)
        terms: dict[str, Tensor] = {}
        states: Sequence[RandomState | None] = [None] * len(parts)
        gradients: Sequence[Tensor | None] = [None] * len(parts)
        image_products: list[Tensor] = []
        if images is not None:
            texts, states = encode_without_graph(self.text_features, parts, self.device)
            weighted, (image_gradient, text_gradient) = loss_and_gradients(
                self._weighted_contrast, images, texts
            )
            terms["contrastive"] = weighted / self.weights.contrastive
            gradients = text_gradient.split([len(part.ids) for part in parts])
            image_products = [(images * image_gradient).sum()]
        for number, (part, state, gradient) in enumerate(zip(parts, states, gradients, strict=True)):
            last = number == len(parts) - 1
            replay = replayed(state, self.device) if state else nullcontext()
            with replay, self._without_sync(not last):
                encoded = self.encode(part)
                products = []
                if gradient is not None:
                    products.append((self.network.text_feature(encoded.groups) * gradient).sum())
                part_terms = self.text_terms(part, encoded, batch)
                if part_terms:
                    products.append(self.weigh(part_terms))
                # With the images' term the last graph reaches every parameter, as the reducer of several
                # processes expects.
                if last:
                    products += image_products
                self.manual_backward(torch.stack(products).sum())
            for name, term in part_terms.items():
                terms[name] = terms.get(name, 0.0) + term.detach()
        self.log_terms(self.weigh(terms), terms)

    def _weighted_contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.weights.contrastive * self.contrast(images, texts)

    def _without_sync(self, active: bool) -> Any:
        """A context in which gradients are not yet added over processes."""
        strategy: Any = self.trainer.strategy
        if active and hasattr(strategy, "block_backward_sync"):
            return strategy.block_backward_sync()
        return nullcontext()

    def weigh(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss: the weighted sum of the terms that there are."""
        return torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()

    def contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """The contrastive loss over the batches of all processes.

        Args:
            images: features (B,E) of this process's batch.
            texts: likewise.

        Returns:
            A scalar.
        """
        world = self.trainer.world_size
        if world == 1:
            return contrastive_loss(images, texts, self.temperature)
        all_images = self._rows_of_all_processes(images)
        all_texts = self._rows_of_all_processes(texts)
        loss = contrastive_loss(all_images, all_texts, self.temperature)
        # Each process has the gradient of its own rows only, and their reducer takes the mean where the sum
        # is wanted.
        return loss.detach() + world * (loss - loss.detach())

    def _rows_of_all_processes(self, rows: Tensor) -> Tensor:
        """(B,E) of this process -> (P B,E) of all P; only this one's carry gradients."""
        gathered = list(self.all_gather(rows.detach()))  # type: ignore[arg-type]
        gathered[self.trainer.global_rank] = rows
        return torch.cat(gathered)

    def whole_batch(self, pieces: Pieces) -> WholeBatch:
        """What parts of a batch must know of all of it."""
        tokens = pieces.mask[:, 1:].sum().float()
        if self.trainer.world_size > 1:
            tokens = self.trainer.strategy.reduce(tokens, reduce_op="mean")
        words: Tensor | None = None
        if self.reconstruction.candidates == "batch":
            words = pieces.ids[pieces.mask].unique()
        return WholeBatch(len(pieces.ids), float(tokens), words)

    def text_terms(self, pieces: Pieces, encoded: Encoded, batch: WholeBatch) -> dict[str, Tensor]:
        """The share that some captions have in the batch's losses of text alone.

        Args:
            pieces: the captions.
            encoded: the same.
            batch: all of the batch.

        Returns:
            ``reconstruction`` and ``balance``, as far as they have a weight and the network can serve them.
        """
        terms = {}
        if self.weights.reconstruction and self.network.decoder is not None:
            terms["reconstruction"] = self.reconstruction_term(pieces, encoded, batch)
        if self.weights.balance and encoded.scores is not None:
            special = (pieces.ids == self.tokenizer.start_id) | (pieces.ids == self.tokenizer.end_id)
            share = len(pieces.ids) / batch.captions
            terms["balance"] = balance_loss(encoded.scores, pieces.mask & ~special) * share
        return terms

    def reconstruction_term(self, pieces: Pieces, encoded: Encoded, batch: WholeBatch) -> Tensor:
        """The captions' part of the batch's reconstruction loss (the paper's equations 9 and 10)."""
        assert isinstance(self.network, TextGroupTransformer)
        targets = pieces.mask[:, 1:]
        weights = target_weights(targets, self.reconstruction.reduction, batch.captions, batch.tokens)
        hidden = self.network.decode(pieces.ids, encoded.groups)
        ids = pieces.ids[:, 1:][targets]
        embedding = self.network.token_embedding.weight
        if batch.words is not None:
            ids = torch.searchsorted(batch.words, ids)
            embedding = embedding[batch.words]
        return vocabulary_cross_entropy(
            hidden[targets], embedding, ids, weights[targets], self.memory.logits_chunk
        )
