"""Judges modules that can `ground` by the masks of what phrases refer to, with a segmenter behind their maps
(multi-object referring segmentation of HIST, section 4.2).
"""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import Tensor

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.heatmaps import baseline_heatmaps, model_heatmaps
from callbacks.soft_masks import images_without_padding
from datamodules.batches import GroundingBatch, denormalise
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGround
from metrics.mask_overlap import ReferringIoU
from metrics.prompters import GrabCut, MapThreshold, Prompter


class ReferringEvaluation(Evaluation):
    """IoU of masks, cumulative over the set (``oiou``, the paper's CIoU) and mean over phrases (``miou``),
    beside two baselines that look at nothing. Sets without masks are passed over.

    A mask is made from the image as the model sees it, and resized to the original.

    Args:
        prompters: how maps become masks, e.g. ``{class_path: GrabCut, init_args: {reach: 0.1}}``; each is
            called a protocol in results. Validation uses the first. By default the map itself and GrabCut.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch

    def __init__(self, prompters: list[Prompter] | None = None) -> None:
        self.prompters = {prompter.name: prompter for prompter in prompters or [MapThreshold(), GrabCut()]}

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], ReferringIoU]:
        """All prompters and the baselines in ``test``; the module with the first prompter in ``val``."""
        if stage == "val":
            return {(next(iter(self.prompters)), "model"): ReferringIoU(threshold=0.5)}
        return {
            (name, method): ReferringIoU(threshold=0.5)
            for name in self.prompters
            for method in ("model", "centre", "random")
        }

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        """Adds a batch."""
        if batch.masks is None:
            return
        images = [denormalise(image, pl_module.preprocessing) for image in images_without_padding(batch)]
        maps: dict[str, Tensor] = {}
        for (name, method), score in scores.items():
            if method not in maps and method == "model":
                maps[method] = model_heatmaps(trainer, pl_module, batch)
            elif method not in maps:
                maps[method] = baseline_heatmaps(method, batch)
            heatmaps = maps[method].cpu()
            for query, image in enumerate(batch.image_of_query.tolist()):
                mask = self.prompters[name].mask(images[image], heatmaps[query])
                score.update(mask, batch.masks[query])

    def rules(self) -> dict[str, Any]:
        """The settings of each prompter."""
        return {name: vars(prompter) for name, prompter in self.prompters.items()}
