"""Judges attention maps as they are: average IoU, accuracy and average precision at several IoUs, and maps of
what is not there.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.evaluations.grounding import heatmaps
from datamodules.batches import GroundingBatch
from lightning_modules.capabilities import CanGround
from metrics.attention_maps import AttentionMapScore, MapRules


class MapEvaluation(Evaluation):
    """The numbers of the MCB attention paper, beside two baselines that know nothing: random places, and the
    centre. See `metrics.attention_maps`.

    Average precision is averaged over the words that the module knows (its ``words``); queries without boxes
    are asked, too, and should stay blank.

    Args:
        boxes: which box of a map is judged, see `metrics.attention_maps.MapRules`; results of ``whole`` are
            called ``map``, those of ``largest`` so.
        thresholds: shares of a map's largest value from which on it is a box; those of further ones than the
            first are called ``map@<threshold>``.
        blank: a map whose largest value is below this is blank.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch

    def __init__(
        self,
        boxes: tuple[Literal["whole", "largest"], ...] = ("whole", "largest"),
        thresholds: tuple[float, ...] = (0.5,),
        blank: float = 0.1,
    ) -> None:
        if not thresholds or not boxes or not all(0 <= threshold < 1 for threshold in thresholds):
            raise ValueError(
                f"thresholds are shares of the largest value, in [0, 1), and at least one, as of boxes, not {thresholds}."
            )
        self.protocols = [
            MapRules(
                ("map" if box == "whole" else box) + (f"@{threshold:g}" if number else ""),
                threshold,
                blank,
                box=box,
            )
            for box in boxes
            for number, threshold in enumerate(thresholds)
        ]

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self.words: tuple[str, ...] = tuple(getattr(pl_module, "words", ()))

    def new_scores(self, dataset: str, source: Any, stage: str) -> dict[tuple[str, str], AttentionMapScore]:
        judged = self.protocols if stage == "test" else self.protocols[:1]
        methods = ("model", "centre", "random") if stage == "test" else ("model",)
        return {
            (rules.name, method): AttentionMapScore(rules, self.words)
            for rules in judged
            for method in methods
        }

    def rules(self) -> dict[str, Any]:
        return {rules.name: asdict(rules) for rules in self.protocols}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        maps = {
            method: heatmaps(trainer, pl_module, batch, method)
            for method in dict.fromkeys(method for _, method in scores)
        }
        for (_, method), score in scores.items():
            score.update(
                maps[method], batch.phrases, batch.boxes, batch.sizes[batch.image_of_query], batch.keys
            )
