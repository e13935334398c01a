"""Judges whether a module knows which of many classes an image shows: NUS-WIDE."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.soft_masks import images_without_padding, mask_rules, soft_masks
from datamodules.batches import LabelBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanSegment
from metrics.label_ranking import LabelRanking


class LabelEvaluation(Evaluation):
    """Mean average precision over classes, each of which ranks all images by the highest value of its soft
    mask (TTD's score by pixels), beside a random ranking.

    Args:
        protocol: preset of `callbacks.soft_masks` by which the masks are made.
        seed: of the random ranking.
    """

    capability: ClassVar[type] = CanSegment
    batch_type: ClassVar[type] = LabelBatch

    def __init__(self, protocol: str = "plain", seed: int = 0) -> None:
        self.masks = mask_rules(protocol)
        self.seed = seed

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], LabelRanking]:
        """The module, and in ``test`` the random ranking."""
        methods = ("model", "random") if stage == "test" else ("model",)
        names = judged.source.class_names
        return {(self.masks.name, method): LabelRanking(names) for method in methods}

    def rules(self) -> dict[str, Any]:
        """What ranks the images."""
        return {
            self.masks.name: {"score": "the highest value of a class's soft mask", "mean": "over classes"}
        }

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: LabelBatch, scores: Scores) -> None:
        """Adds a batch."""
        for (_, method), score in scores.items():
            names = list(score.class_names)
            if method == "random":
                values = torch.stack([self._random(key, len(names)) for key in batch.keys])
            else:
                masks = [
                    soft_masks(trainer, pl_module, image, names, True, self.masks)
                    for image in images_without_padding(batch)
                ]
                values = torch.stack([mask.amax(dim=(1, 2)) for mask in masks])
            score.update(batch.keys, values, batch.labels)

    def _random(self, key: str, classes: int) -> torch.Tensor:
        """(C,), the same whatever the batch and the process."""
        rng = np.random.default_rng([self.seed, *key.encode()])
        return torch.from_numpy(rng.random(classes, dtype=np.float32))
