"""MCB attention on pictures of digits.

"Weakly Supervised Attention Learning for Textual Phrases Grounding" (called the paper here).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch
from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile
from lightning_modules.mcb_attention.classes import WordClassModule
from lightning_modules.mcb_attention.losses import (
    Queries,
    complement_loss,
    draw_queries,
    map_penalty,
    masked_images,
    masked_targets,
    pair_loss,
    total_variation,
)
from lightning_modules.mcb_attention.options import (
    DIGITS,
    FINE_TUNING,
    GroundingOptions,
    ImageOptions,
    JudgeOptions,
    LossWeights,
    PairOptions,
    QueryOptions,
)
from lightning_modules.optimisation import Optimisation
from networks.mcb_attention import AttentionOptions, DigitClassifier, MCBNetwork, ResNetSize


class MCBAttention(WordClassModule):
    """Learns maps by querying for a class that an image is known to show: L_ce + lambda L_p + beta R.

    L_ce classifies what the map attends to. That loss alone does not localise: the classifier's target is the
    query, which the map has seen, so that the map can tell the class by its size and by which of an image's
    strokes it picks. ``freeze``, ``weights.complement`` and the judge are there to close that way; see
    docs/results.md.

    Args:
        backbone: of the image features.
        attention: the layers between the backbone and its maps.
        words: the classes.
        weights: of the losses.
        pairs: how L_p compares.
        queries: what is asked in a training step.
        freeze: parts that stay as they were pre-trained: ``classifier``, ``backbone`` or ``both``.
        judge: a frozen classifier of whole images; used if ``weights.judge`` is not 0.
        grounding: how maps of phrases are made.
        images: how images are made ready.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: a checkpoint of `DigitPretrain` or of this method.
    """

    network: MCBNetwork

    def __init__(
        self,
        backbone: ResNetSize = ResNetSize(),
        attention: AttentionOptions = AttentionOptions(),
        words: tuple[str, ...] = DIGITS,
        weights: LossWeights = LossWeights(),
        pairs: PairOptions = PairOptions(),
        queries: QueryOptions = QueryOptions(),
        freeze: Literal["none", "classifier", "backbone", "both"] = "none",
        judge: JudgeOptions = JudgeOptions(),
        grounding: GroundingOptions = GroundingOptions(),
        images: ImageOptions = ImageOptions(),
        optimisation: Optimisation = FINE_TUNING,
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(words, images, optimisation, pretrained)
        self.network = MCBNetwork(backbone, attention, len(words))
        self.weights = weights
        self.pairs = pairs
        self.queries = queries
        self.queries_per_pass = grounding.queries_per_pass
        self.stride = backbone.stride if grounding.stitch else 1
        for part in ("classifier", "backbone"):
            if freeze in {part, "both"}:
                self.freeze_part(f"network.{part}")
        self.judge: DigitClassifier | None = None
        if weights.judge:
            self.judge = DigitClassifier(judge.backbone, len(words))
            self.freeze_part("judge")
            option = "--model.judge.pretrained"
            self.judge_file = PartFile("judge", judge.pretrained, option, only_to_train=True)
            self.part_files.append(self.judge_file)

    def setup(self, stage: str) -> None:
        """Also refuses to train with a judge that knows nothing.

        Raises:
            ModelError: a judge without a file.
        """
        if stage == "fit" and self.judge is not None and self.judge_file.path is None:
            raise ModelError(
                "model.weights.judge needs a judge: set --model.judge.pretrained to a checkpoint that "
                "DigitPretrain wrote with loss=multi."
            )
        super().setup(stage)

    # Training.

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        """The loss of a batch.

        Raises:
            ModelError: no caption has one of the words.
        """
        labels = self.labels(batch.captions)
        queries = draw_queries(labels, self.queries.per_image, self.queries.absent)
        if not queries.present.any():
            raise ModelError(
                f"no caption of this batch has one of the words {', '.join(self.words)}; set --model.words "
                "to what the captions name."
            )
        features = self.network.backbone(batch.images)
        maps = self.network.attention_logits(features, queries.classes, queries.image).sigmoid()
        terms = self.map_terms(batch.images, maps, queries)
        terms |= self.class_terms(features, maps, queries)
        if self.judge is not None:
            terms["under"], terms["rest"] = self.judge_terms(batch.images, labels, maps, queries)
        loss = self.weigh(terms)
        self.log_terms(loss, terms)
        return loss

    def map_terms(self, images: Tensor, maps: Tensor, queries: Queries) -> dict[str, Tensor]:
        """What the maps cost whatever they attend to.

        Args:
            images: (B,3,H,W).
            maps: (Q,h,w) in [0,1].
            queries: Q of them.

        Returns:
            ``penalty`` of the maps of present classes, ``absent`` of the others if there are any, and
            ``variation`` if it has a weight.
        """
        penalties = map_penalty(maps)
        terms = {"penalty": penalties[queries.present].mean()}
        if not queries.present.all():
            terms["absent"] = penalties[~queries.present].mean()
        if self.weights.smoothness:
            terms["variation"] = total_variation(maps, self.brightness(images)[queries.image])
        return terms

    def class_terms(self, features: Tensor, maps: Tensor, queries: Queries) -> dict[str, Tensor]:
        """What the features under the maps of present classes say of these.

        Args:
            features: (B,C,h,w), from the backbone.
            maps: (Q,h,w) in [0,1].
            queries: Q of them.

        Returns:
            ``ce``, and ``pair`` and ``complement`` if they have a weight.
        """
        present = queries.present
        image = queries.image[present]
        classes = queries.classes[present]
        attended = self.network.pool(features, maps[present], image)
        terms = {"ce": F.cross_entropy(self.network.classifier(attended).float(), classes)}
        if self.weights.pair:
            terms["pair"] = pair_loss(attended, classes, self.pairs.kind, self.pairs.margin)
        if self.weights.complement:
            rest = self.network.pool(features, 1 - maps[present], image)
            terms["complement"] = complement_loss(self.network.classifier(rest).float(), classes)
        return terms

    def judge_terms(
        self, images: Tensor, labels: Tensor, maps: Tensor, queries: Queries
    ) -> tuple[Tensor, Tensor]:
        """What the judge has to say against the maps.

        Args:
            images: (B,3,H,W).
            labels: (B,K) bool.
            maps: (Q,h,w) in [0,1].
            queries: Q of them.

        Returns:
            The binary cross-entropies of the images under the maps, and of the rest of them.
        """
        assert self.judge is not None
        parts = torch.cat(masked_images(images, maps, queries.image, self.black(images.device)))
        logits_under, logits_rest = self.judge(parts).float().chunk(2)
        targets_under, targets_rest = masked_targets(labels, queries)
        under = F.binary_cross_entropy_with_logits(logits_under, targets_under)
        rest = F.binary_cross_entropy_with_logits(logits_rest, targets_rest)
        return under, rest

    def weigh(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss: the weighted sum of the terms that there are."""
        weights = {
            "penalty": self.weights.penalty,
            "variation": self.weights.smoothness,
            "ce": self.weights.classification,
            "pair": self.weights.pair,
            "complement": self.weights.complement,
            "absent": self.weights.absent,
        }
        loss = torch.zeros((), device=self.device)
        for name, weight in weights.items():
            if name in terms:
                loss = loss + weight * terms[name]
        if "under" in terms:
            loss = loss + self.weights.judge * (terms["under"] + terms["rest"])
        return loss

    def brightness(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,1,H,W): 0 is black, 1 white."""
        lit = images - self.black(images.device)
        return (lit * self.pixel_std(images.device)).mean(1, keepdim=True)

    # Capabilities.

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Sigmoid maps at the backbone's grid, or finer by ``stitch``; every image is encoded once.

        See `lightning_modules.capabilities.CanGround`.
        """
        classes = self.classes(phrases)
        rows = []
        for y in range(self.stride):
            columns = [self._maps(moved(images, y, x), classes, image_of_query) for x in range(self.stride)]
            rows.append(torch.stack(columns, dim=3))
        return torch.stack(rows, dim=2).flatten(3).flatten(1, 2)

    def _maps(self, images: Tensor, classes: Tensor, image_of_query: Tensor) -> Tensor:
        features = self.network.backbone(images)
        maps = []
        for start in range(0, max(1, len(classes)), self.queries_per_pass):
            part = slice(start, start + self.queries_per_pass)
            logits = self.network.attention_logits(features, classes[part], image_of_query[part])
            maps.append(logits.sigmoid())
        return torch.cat(maps)


def moved(images: Tensor, y: int, x: int) -> Tensor:
    """Images (N,C,H,W) moved up by y pixels and to the left by x; the last row and column are repeated.

    Example:
        >>> moved(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 0, 1).tolist()
        [[[[2.0, 3.0, 3.0]]]]
    """
    return F.pad(images[..., y:, x:], (0, x, 0, y), mode="replicate")
