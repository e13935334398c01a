"""Judges modules that can `segment`: classes of pixels, and the regions of whole captions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.soft_masks import images_without_padding, mask_rules, soft_masks
from datamodules.batches import SegmentationBatch, TagBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanSegment
from metrics.mask_overlap import CaptionIoU
from metrics.segmentation import OneClassIoU, SegmentationIoU, has_background


class MaskEvaluation(Evaluation):
    """What the two evaluations of this file share: the rules by which soft masks are made.

    Args:
        protocols: names of presets of `callbacks.soft_masks`; validation uses the first.
        thresholds: of single data sets, by the set's name, in place of the protocols' own. TTD: 0.40 for VOC,
            Cityscapes, COCO-Stuff and CC3M-TagMask, 0.45 for COCO-Object, Context and ADE20K.
        changes: fields of the protocols to set otherwise, e.g. ``{window: 224, stride: 112}``; the changed
            protocols are then called ``<name>*``.
    """

    capability: ClassVar[type] = CanSegment

    def __init__(
        self,
        protocols: tuple[str, ...] = ("plain",),
        thresholds: dict[str, float] | None = None,
        changes: dict[str, Any] | None = None,
    ) -> None:
        all_rules = [mask_rules(name, changes) for name in protocols]
        self.protocols = {rules.name: rules for rules in all_rules}
        self.thresholds = thresholds or {}

    def threshold(self, judged: JudgedSet, protocol: str) -> float:
        """Of a data set under a protocol."""
        return self.thresholds.get(judged.name, self.protocols[protocol].threshold)

    def protocols_of(self, stage: str) -> list[str]:
        """The names of the protocols of a stage."""
        names = list(self.protocols)
        return names[:1] if stage == "val" else names

    def rules(self) -> dict[str, Any]:
        """The fields of each protocol, and the thresholds of single sets."""
        own = {f"thresholds of {type(self).__name__}": self.thresholds} if self.thresholds else {}
        return {name: asdict(rules) for name, rules in self.protocols.items()} | own


class SegmentationEvaluation(MaskEvaluation):
    """Mean IoU over classes, beside a baseline that looks at nothing: the best class everywhere."""

    batch_type: ClassVar[type] = SegmentationBatch

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], SegmentationIoU]:
        """All protocols and the baseline in ``test``; the module under the first protocol in ``val``."""
        names = judged.source.class_names
        scores: dict[tuple[str, str], SegmentationIoU] = {}
        for protocol in self.protocols_of(stage):
            scores[protocol, "model"] = SegmentationIoU(names, self.threshold(judged, protocol))
            if stage == "test":
                scores[protocol, "one class"] = OneClassIoU(names)
        return scores

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: SegmentationBatch, scores: Scores) -> None:
        """Adds a batch."""
        names = list(next(iter(scores.values())).class_names)
        foreground = names[1:] if has_background(names) else names
        for image, labels in zip(images_without_padding(batch), batch.labels, strict=True):
            for protocol in dict.fromkeys(protocol for protocol, _ in scores):
                rules = self.protocols[protocol]
                masks = soft_masks(trainer, pl_module, image, foreground, True, rules)
                for method in [method for name, method in scores if name == protocol]:
                    scores[protocol, method].update(masks, labels)


class CaptionEvaluation(MaskEvaluation):
    """CaptionIoU: the map of a whole caption against the regions of all its tags, beside a baseline that
    looks at nothing: everything is foreground.

    Sets without regions are passed over.
    """

    batch_type: ClassVar[type] = TagBatch

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], CaptionIoU]:
        """All protocols and the baseline in ``test``; the module under the first protocol in ``val``."""
        methods = ("model", "everything") if stage == "test" else ("model",)
        return {
            (protocol, method): CaptionIoU(self.threshold(judged, protocol))
            for protocol in self.protocols_of(stage)
            for method in methods
        }

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: TagBatch, scores: Scores) -> None:
        """Adds a batch."""
        if batch.masks is None:
            return
        images = images_without_padding(batch)
        for image, words, tags, regions in zip(images, batch.words, batch.tags, batch.masks, strict=True):
            if not len(regions):
                continue
            region = regions.any(dim=0)
            different_tags = dict.fromkeys(word for word, is_tag in zip(words, tags, strict=True) if is_tag)
            texts = [" ".join(words), *different_tags]
            for (protocol, method), score in scores.items():
                if method == "everything":
                    score.update(torch.ones(1, 1, device=image.device), region)
                    continue
                rules = self.protocols[protocol]
                masks = soft_masks(trainer, pl_module, image, texts, False, rules)
                score.update(masks[0], region, masks[1:])
