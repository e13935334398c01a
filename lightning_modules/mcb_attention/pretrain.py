"""The stage before the attention: a classifier of digits.

The attention takes its backbone from it, and it can judge what a map covers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import BinaryAccuracy

from datamodules.batches import GroundingBatch, ImageTextBatch
from lightning_modules.mcb_attention.classes import WordClassModule
from lightning_modules.mcb_attention.options import DIGITS, FROM_SCRATCH, ImageOptions
from lightning_modules.optimisation import Optimisation
from networks.mcb_attention import DigitClassifier, ResNetSize


class DigitPretrain(WordClassModule):
    """Learns which classes an image shows from its caption, and grounds them by class activation maps.

    Global average pooling and a linear layer.

    Args:
        backbone: of the image features.
        words: the classes.
        loss: ``single`` for images of one digit (the paper's pre-training, 99.40 % on MNIST); ``multi`` for
            any number of them, none included.
        contrast: in training, each image is darkened by a factor drawn from [1 - this, 1], so that a faint
            digit is one, too.
        images: how images are made ready.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: a checkpoint of this project.
    """

    network: DigitClassifier

    def __init__(
        self,
        backbone: ResNetSize = ResNetSize(),
        words: tuple[str, ...] = DIGITS,
        loss: Literal["single", "multi"] = "single",
        contrast: float = 0.0,
        images: ImageOptions = ImageOptions(),
        optimisation: Optimisation = FROM_SCRATCH,
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(words, images, optimisation, pretrained)
        self.network = DigitClassifier(backbone, len(words))
        self.loss = loss
        self.contrast = contrast
        self.accuracy = BinaryAccuracy()

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        """The cross-entropy of a batch."""
        images = batch.images
        labels = self.labels(batch.captions)
        if self.contrast:
            black = self.black(images.device)
            factors = 1 - self.contrast * torch.rand(len(images), 1, 1, 1, device=images.device)
            images = black + (images - black) * factors
        logits = self.network(images).float()
        if self.loss == "multi":
            loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        else:
            loss = F.cross_entropy(logits, labels.int().argmax(1))
        self.log_terms(loss, {"ce": loss})
        return loss

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Class activation maps, negative parts cut off, as shares of their largest value.

        See `lightning_modules.capabilities.CanGround`.
        """
        all_maps = self.network.activation_maps(images)
        maps = all_maps[image_of_query, self.classes(phrases)].float().clamp(min=0)
        return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-6)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs ``val/label_accuracy``."""
        self._log_accuracy(batch, "val")

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs ``test/label_accuracy``."""
        self._log_accuracy(batch, "test")

    def _log_accuracy(self, batch: GroundingBatch, stage: str) -> None:
        """Of single digits, whether the largest logit is right; of several, whether each queried one is.

        A queried class is right if it has a positive logit just where it has a box.
        """
        if not len(batch):
            return
        logits = self.network(batch.images)[batch.image_of_query].float()
        classes = self.classes(batch.phrases)
        present = torch.tensor([len(boxes) > 0 for boxes in batch.boxes], device=self.device)
        if self.loss == "multi":
            predicted = logits[torch.arange(len(classes)), classes] > 0
        else:
            predicted = logits.argmax(1) == classes
        self.accuracy.update(predicted.int(), present.int())
        name = f"{stage}/label_accuracy"
        self.log(name, self.accuracy, on_step=False, on_epoch=True, batch_size=len(classes))
