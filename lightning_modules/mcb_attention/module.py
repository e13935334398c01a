"""MCB attention: "Weakly Supervised Attention Learning for Textual Phrases Grounding" on pictures of digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch
from lightning_modules.errors import ModelError
from lightning_modules.loading import read_weights
from lightning_modules.mcb_attention.losses import (
    PairLoss,
    Queries,
    complement_loss,
    draw_queries,
    map_penalty,
    masked_images,
    masked_targets,
    pair_loss,
    total_variation,
)
from lightning_modules.mcb_attention.pretrain import (
    DIGITS,
    GREY,
    BackboneOptimisation,
    ClassModule,
    black_of,
    frozen,
)
from networks.layers.compact_bilinear import PostNorm
from networks.mcb_attention import DigitClassifier, MCBNetwork, Pooling, ResNetSize, pool


class MCBAttention(ClassModule):
    """Learns maps by asking for a class that an image is known to show, and classifying what the map attends
    to: L_ce + lambda L_p + beta R.

    That loss alone does not point: the classifier's target is the query, which the map has seen, so that the
    map can tell the class by its size and by which of an image's strokes it picks. ``freeze``,
    ``complement_weight`` and the judge are there to close that way; see docs/results.md.

    Args:
        backbone, text_width, sketch, hidden, post_norm: see `networks.mcb_attention.MCBNetwork`.
        words: the classes.
        pair_weight: lambda, of L_p.
        pair_kind, pair_margin: see `lightning_modules.mcb_attention.losses.pair_loss`.
        penalty_weight: beta, of R; the paper's table 1 has 0, 0.05, 0.1 and 0.2.
        smooth_weight: of the maps' total variation where the image itself is smooth: against specks and torn
            strokes. Not in the paper.
        class_weight: of L_ce; 1 in the paper.
        pooling: see `networks.mcb_attention.pool`.
        queries: ask for ``one`` class of each image, as the paper does, or for ``all`` of them, which costs
            the backbone nothing.
        absent: probability that an image is also asked for a class that it does not show. Such a query has no
            L_ce and no L_p.
        absent_weight: of the penalty of maps for absent classes, beside beta.
        freeze: parts that stay as they were pre-trained: ``classifier``, ``backbone`` or ``both``.
        complement_weight: of -log(1 - p) of the queried class, as the classifier sees it in the features that
            the map leaves over. Not in the paper.
        judge: a classifier trained by `DigitPretrain` with ``loss: multi``. It stays as it is and must see
            the queried class alone in the image under the map, and all others in the rest of the image. Not
            in the paper, nor is there a box in it: it learnt from captions.
        judge_backbone: of that classifier.
        judge_weight: of its two losses.
        queries_per_pass: phrases grounded at once; bounds the memory.
        stitch: for a backbone with a stride: ground in the image moved by every number of pixels below the
            stride, and stitch the maps together to one of the image's resolution (as "Fully Convolutional
            Networks for Semantic Segmentation", section 3.2, does). Costs the stride's square.
        optimisation, pretrained, image_size, mean, std: as for `ClassModule`.
    """

    network: MCBNetwork

    def __init__(
        self,
        backbone: ResNetSize = ResNetSize(),  # noqa: B008 (frozen)
        words: tuple[str, ...] = DIGITS,
        text_width: int = 128,
        sketch: int = 1024,
        hidden: int = 512,
        post_norm: PostNorm = "signed_sqrt_l2",
        pair_weight: float = 0.1,
        pair_kind: PairLoss = "contrastive",
        pair_margin: float = 1.0,
        penalty_weight: float = 0.1,
        smooth_weight: float = 0.0,
        class_weight: float = 1.0,
        pooling: Pooling = "mean",
        queries: Literal["one", "all"] = "one",
        absent: float = 0.0,
        absent_weight: float = 1.0,
        freeze: Literal["none", "classifier", "backbone", "both"] = "none",
        complement_weight: float = 0.0,
        judge: Path | None = None,
        judge_backbone: ResNetSize = ResNetSize(),  # noqa: B008 (frozen)
        judge_weight: float = 0.0,
        queries_per_pass: int = 32,
        stitch: bool = False,
        optimisation: BackboneOptimisation = BackboneOptimisation(),  # noqa: B008 (frozen)
        pretrained: Path | None = None,
        image_size: int = 64,
        mean: tuple[float, float, float] = GREY[0],
        std: tuple[float, float, float] = GREY[1],
    ) -> None:
        super().__init__(words, optimisation, pretrained, image_size, mean, std)
        self.network = MCBNetwork(backbone, len(words), text_width, sketch, hidden, post_norm)
        self.pair_weight, self.pair_kind, self.pair_margin = pair_weight, pair_kind, pair_margin
        self.penalty_weight, self.class_weight, self.complement_weight = (
            penalty_weight,
            class_weight,
            complement_weight,
        )
        self.smooth_weight = smooth_weight
        self.pooling, self.queries, self.absent, self.absent_weight = pooling, queries, absent, absent_weight
        self.queries_per_pass, self.stride = queries_per_pass, backbone.stride if stitch else 1
        self.frozen_parts = [name for name in ("classifier", "backbone") if freeze in {name, "both"}]
        for name in self.frozen_parts:
            frozen(self.network.get_submodule(name))
        self.judge_path, self.judge_weight = judge, judge_weight
        self.judge = frozen(DigitClassifier(judge_backbone, len(words))) if judge_weight else None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.judge is not None and not self.trainer.ckpt_path:
            if self.judge_path is None:
                raise ModelError(
                    "model.judge_weight needs a judge: set --model.judge to a checkpoint that DigitPretrain wrote with loss=multi."
                )
            try:
                self.judge.load_state_dict(read_weights(Path(self.judge_path)))
            except RuntimeError as error:
                raise ModelError(
                    f"{self.judge_path}: {str(error).splitlines()[-1].strip()} (set --model.judge_backbone to what it has)."
                ) from error

    def train(self, mode: bool = True) -> MCBAttention:
        """Frozen parts stay in evaluation mode, in which batch normalisation keeps its statistics."""
        super().train(mode)
        for name in self.frozen_parts:
            self.network.get_submodule(name).eval()
        if self.judge is not None:
            self.judge.eval()
        return self

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        network, labels = self.network, self.labels(batch.captions)
        queries = draw_queries(labels, self.queries, self.absent)
        if not queries.present.any():
            raise ModelError(
                f"no caption of this batch has one of the words {', '.join(self.words)}; set --model.words to what the captions name."
            )
        features = network.backbone(batch.images)
        maps = network.attention(features, queries.classes, queries.image).sigmoid()
        there = queries.present
        penalties, classes = map_penalty(maps), queries.classes[there]
        terms = {"penalty": penalties[there].mean()}
        loss = self.penalty_weight * terms["penalty"]
        if self.smooth_weight:
            terms["variation"] = total_variation(maps, self.brightness(batch.images)[queries.image])
            loss = loss + self.smooth_weight * terms["variation"]
        attended = pool(features, maps[there], queries.image[there], self.pooling)
        terms["ce"] = F.cross_entropy(network.classifier(attended).float(), classes)
        loss = loss + self.class_weight * terms["ce"]
        if self.pair_weight:
            terms["pair"] = pair_loss(attended, classes, self.pair_kind, self.pair_margin)
            loss = loss + self.pair_weight * terms["pair"]
        if self.complement_weight:
            rest = pool(features, 1 - maps[there], queries.image[there], self.pooling)
            terms["complement"] = complement_loss(network.classifier(rest).float(), classes)
            loss = loss + self.complement_weight * terms["complement"]
        if not there.all():
            terms["absent"] = penalties[~there].mean()
            loss = loss + self.absent_weight * terms["absent"]
        if self.judge is not None:
            terms["under"], terms["rest"] = self.judged(batch.images, labels, maps, queries)
            loss = loss + self.judge_weight * (terms["under"] + terms["rest"])
        self.log_terms(loss, terms)
        return loss

    def judged(self, images: Tensor, labels: Tensor, maps: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
        """What the judge has to say against the maps: binary cross-entropies of the image under the map, and
        of the rest of it.
        """
        assert self.judge is not None
        black = black_of(self.preprocessing, images.device)
        seen = torch.cat(masked_images(images, maps, queries.image, black))
        logits = self.judge(seen).float().chunk(2)
        targets = masked_targets(labels, queries)
        under, rest = (
            F.binary_cross_entropy_with_logits(side, target)
            for side, target in zip(logits, targets, strict=True)
        )
        return under, rest

    def brightness(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,1,H,W): 0 is black, 1 white."""
        lit = images - black_of(self.preprocessing, images.device)
        return (lit * torch.tensor(self.preprocessing.std, device=images.device).view(3, 1, 1)).mean(
            1, keepdim=True
        )

    @torch.no_grad()
    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Sigmoid maps at the backbone's grid, or finer by ``stitch``; every image is encoded once. See
        `lightning_modules.base.CanGround`.
        """
        classes, stride = self.classes(phrases), self.stride
        rows = [
            torch.stack(
                [self._maps(moved(images, y, x), classes, image_of_query) for x in range(stride)], dim=3
            )
            for y in range(stride)
        ]
        return torch.stack(rows, dim=2).flatten(3).flatten(1, 2)

    def _maps(self, images: Tensor, classes: Tensor, image_of_query: Tensor) -> Tensor:
        features = self.network.backbone(images)
        passes = [
            slice(start, start + self.queries_per_pass)
            for start in range(0, max(1, len(classes)), self.queries_per_pass)
        ]
        return torch.cat(
            [
                self.network.attention(features, classes[queries], image_of_query[queries]).sigmoid()
                for queries in passes
            ]
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As for every method; a checkpoint may be judged without the judge that it was trained with."""
        if self.judge is None:
            checkpoint["state_dict"] = {
                key: value for key, value in checkpoint["state_dict"].items() if not key.startswith("judge.")
            }
        super().on_load_checkpoint(checkpoint)


def moved(images: Tensor, y: int, x: int) -> Tensor:
    """Images (N,C,H,W) moved up by y pixels and to the left by x; the last row and column are repeated."""
    return F.pad(images[..., y:, x:], (0, x, 0, y), mode="replicate")
