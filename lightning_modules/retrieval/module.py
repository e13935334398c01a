"""Fine-tuning for image-text retrieval, as the public code of ALBEF does it (Li et al. 2021, section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch
from lightning_modules.backbones.losses import contrastive_loss, matching_loss
from lightning_modules.backbones.module import BackboneModule
from lightning_modules.backbones.momentum import MomentumBackbone
from lightning_modules.optimisation import Optimisation
from networks.layers.tokenizer import Tokens

NO_IMAGE = 0  # in the queue, where no feature of this run is


class RetrievalFinetune(BackboneModule):
    """Trains a backbone by contrast and matching, where everything that is of the same image matches.

    An image comes with one of its captions at a time, and its earlier ones may still be in the queue or
    beside it in the batch. So each row and each feature in the queue remembers its image: all that are of the
    same one share the target of ITC, and are no negatives of ITM.

    Targets are softened by the momentum model with ``backbone.distillation.share``, ramped up linearly over
    the first epoch. ALBEF's code of this stage does not clamp the temperature, BLIP's and this do.

    Args:
        backbone: the network and how it is used, e.g. `lightning_modules.backbones.albef.ALBEFBackbone`.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    backbone: MomentumBackbone
    queued_images: Tensor

    def __init__(
        self,
        backbone: MomentumBackbone,
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(backbone, optimisation, pretrained)
        # Several processes wait for the gradients of all that is trained.
        for parameter in backbone.network.language_parameters():
            parameter.requires_grad_(False)
        # Features of a pre-trained queue are of no known image, and so match nothing.
        queue_size = backbone.network.image_queue.shape[1]
        self.register_buffer("queued_images", torch.full((queue_size,), NO_IMAGE))

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        step = self.training_progress(batch_idx)
        network = self.backbone.network
        encoded = self.backbone.encode_for_training(batch.images, step)
        tokens = self.backbone.tokenize(batch.captions)
        hidden = self.backbone.encode_texts(tokens)
        features = self.backbone.text_features(hidden, tokens)
        images = image_numbers(batch.keys).to(self.device)

        contrast = contrastive_loss(
            encoded.features,
            features,
            network.image_queue,
            network.text_queue,
            network.temp,
            self.backbone.distillation_share(step),
            matches=images[:, None] == torch.cat([images, self.queued_images]),
        )
        same_image = images[:, None] == images
        negatives = self.backbone.draw_negatives(contrast, batch.captions, same_image=same_image)
        terms = {"itc": contrast.loss, "itm": self.matching_term(hidden, tokens, encoded.tokens, negatives)}

        positions = network.enqueue(step.gather(encoded.features.momentum), step.gather(features.momentum))
        self.queued_images[positions] = step.gather(images)[-len(positions) :]
        loss = terms["itc"] + terms["itm"]
        self.log_terms(loss, terms)
        return loss

    def matching_term(
        self, hidden: Tensor, tokens: Tokens, image_tokens: Tensor, negatives: tuple[Tensor, Tensor]
    ) -> Tensor:
        """ITM of B pairs that match and 2 B that do not.

        Args:
            hidden: (B,T,W), the texts as they were read alone.
            tokens: of the texts.
            image_tokens: (B,1+P,D).
            negatives: for each text an image (B,), and for each image a text (B,).
        """
        negative_images, negative_texts = negatives
        rows = torch.arange(len(hidden), device=self.device)
        texts = torch.cat([rows, rows, negative_texts])
        images = torch.cat([rows, negative_images, rows])
        paired = Tokens(tokens.ids[texts], tokens.mask[texts])
        fused = self.backbone.fuse_hidden_texts(hidden[texts], paired, image_tokens, images)
        logits = self.backbone.network.match_logits(fused)
        return matching_loss(logits[: len(rows)], logits[len(rows) :])


def image_numbers(keys: Sequence[str]) -> Tensor:
    """A number for each name of an image, the same in every process and run; never `NO_IMAGE`: (B,) int64.

    Example:
        >>> image_numbers(["a", "b", "a"]).unique().numel()
        2
    """
    digests = [hashlib.sha256(key.encode()).digest()[:7] for key in keys]
    return torch.tensor([1 + int.from_bytes(digest, "big") for digest in digests], dtype=torch.long)
