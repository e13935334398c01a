"""The stage before the attention: a classifier of digits, from which it takes its backbone, and which can
judge what a map covers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import BinaryAccuracy

from datamodules.batches import GroundingBatch, ImageTextBatch, Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from networks.mcb_attention import DigitClassifier, ResNetSize

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GREY = (0.1307, 0.1307, 0.1307), (0.3081, 0.3081, 0.3081)


@dataclass(frozen=True)
class BackboneOptimisation(Optimisation):
    """Stochastic gradient descent with momentum, or AdamW, and a backbone that learns more slowly.

    Args:
        optimizer: ``sgd`` in the paper.
        momentum: of ``sgd``.
        backbone_lr: learning rate of the backbone as a share of ``lr``: a tenth in the paper, 1 from scratch,
            0 to keep it as it is.
    """

    lr: float = 0.1
    weight_decay: float = 5e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    backbone_lr: float = 0.1


class ClassModule(WeakgroundModule):
    """What the stages share: classes that are words, labels read from captions, and the optimiser.

    Args:
        words: the K classes. A caption says which of them its image shows, and nothing of where.
        optimisation, pretrained: as for every method.
        image_size: side of the training images.
        mean, std: of the images.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    optimisation: BackboneOptimisation

    def __init__(
        self,
        words: Sequence[str],
        optimisation: BackboneOptimisation,
        pretrained: Path | None,
        image_size: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.words, self.class_of_word = tuple(words), {word: index for index, word in enumerate(words)}
        self.preprocessing = Preprocessing(image_size, mean, std, "bilinear")

    def labels(self, captions: Sequence[str]) -> Tensor:
        """(B,K) bool: which of the words each caption has."""
        said = [set(re.findall(r"\w+", caption.lower())) for caption in captions]
        return torch.tensor(
            [[word in of_caption for word in self.words] for of_caption in said], device=self.device
        )

    def classes(self, phrases: Sequence[str]) -> Tensor:
        """(Q,) long: the class of each phrase, which has exactly one of the words in it ("seven", "a seven").

        Raises:
            ModelError: it has none, or several.
        """
        labels = self.labels(phrases).view(len(phrases), len(self.words))
        for phrase, count in zip(phrases, labels.sum(1).tolist(), strict=True):
            if count != 1:
                raise ModelError(
                    f"the phrase {phrase!r} has {count} of the words that this model knows; ask for one of {', '.join(self.words)}."
                )
        return labels.int().argmax(1)

    def configure_optimizers(self) -> Any:
        optimisation = self.optimisation
        backbone = list(self.network.backbone.parameters())  # type: ignore[union-attr, operator]
        slow = {id(parameter) for parameter in backbone}
        rest = [
            parameter
            for parameter in self.parameters()
            if parameter.requires_grad and id(parameter) not in slow
        ]
        groups: list[dict[str, Any]] = [{"params": rest}]
        if optimisation.backbone_lr and backbone[0].requires_grad:
            groups.append({"params": backbone, "lr": optimisation.lr * optimisation.backbone_lr})
        options: dict[str, Any] = {"lr": optimisation.lr, "weight_decay": optimisation.weight_decay}
        if optimisation.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, momentum=optimisation.momentum, **options
            )
        else:
            optimizer = torch.optim.AdamW(groups, betas=optimisation.betas, **options)
        total, per_epoch = self.planned_steps()
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: optimisation.lr_at(step, total, per_epoch) / optimisation.lr
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class DigitPretrain(ClassModule):
    """Learns which classes an image shows from its caption, by global average pooling and a linear layer;
    grounds them by class activation maps.

    Args:
        backbone: see `networks.mcb_attention.ResNetSize`.
        loss: ``single`` for images of one digit (the paper's pre-training, 99.40 % on MNIST); ``multi`` for
            any number of them, none included.
        contrast: in training, each image is darkened by a factor drawn from [1 - this, 1], so that a faint
            digit is one, too.
        optimisation, pretrained, image_size, mean, std: as for `ClassModule`.
    """

    network: DigitClassifier

    def __init__(
        self,
        backbone: ResNetSize = ResNetSize(),  # noqa: B008 (frozen)
        words: tuple[str, ...] = DIGITS,
        loss: Literal["single", "multi"] = "single",
        contrast: float = 0.0,
        optimisation: BackboneOptimisation = BackboneOptimisation(backbone_lr=1.0),
        pretrained: Path | None = None,
        image_size: int = 64,
        mean: tuple[float, float, float] = GREY[0],
        std: tuple[float, float, float] = GREY[1],
    ) -> None:
        super().__init__(words, optimisation, pretrained, image_size, mean, std)
        self.network = DigitClassifier(backbone, len(words))
        self.loss, self.contrast = loss, contrast
        self.accuracy = BinaryAccuracy()

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        images, labels = batch.images, self.labels(batch.captions)
        if self.contrast:
            black = black_of(self.preprocessing, images.device)
            images = black + (images - black) * (
                1 - self.contrast * torch.rand(len(images), 1, 1, 1, device=images.device)
            )
        logits = self.network(images).float()
        if self.loss == "multi":
            loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        else:
            loss = F.cross_entropy(logits, labels.int().argmax(1))
        self.log_terms(loss, {"ce": loss})
        return loss

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Class activation maps, negative parts cut off, as shares of their largest value. See
        `lightning_modules.base.CanGround`.
        """
        maps = (
            self.network.activation_maps(images)[image_of_query, self.classes(phrases)].float().clamp(min=0)
        )
        return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-6)

    def _judge(self, batch: GroundingBatch, stage: str) -> None:
        """Accuracy: of single digits, whether the largest logit is right; of several, whether each queried
        one is rightly said to be there or not.
        """
        if not len(batch):
            return
        logits = self.network(batch.images)[batch.image_of_query].float()
        classes = self.classes(batch.phrases)
        there = torch.tensor([len(boxes) > 0 for boxes in batch.boxes], device=self.device)
        said = (
            logits[torch.arange(len(classes)), classes] > 0
            if self.loss == "multi"
            else logits.argmax(1) == classes
        )
        self.accuracy.update(said.int(), there.int())
        self.log(
            f"{stage}/label_accuracy", self.accuracy, on_step=False, on_epoch=True, batch_size=len(classes)
        )

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._judge(batch, "val")

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._judge(batch, "test")


def black_of(preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """What a black pixel is for the model: (3,1,1)."""
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return -mean / std


def frozen(network: nn.Module) -> nn.Module:
    """The network without gradients; batch normalisation keeps its statistics as long as it stays in
    evaluation mode.
    """
    return network.requires_grad_(False).eval()
