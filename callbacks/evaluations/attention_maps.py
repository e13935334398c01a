"""Judges attention maps as they are: average IoU, accuracy and average precision at several IoUs, and maps of
what is not there.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.heatmaps import BASELINES, baseline_heatmaps, model_heatmaps
from datamodules.batches import GroundingBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGround
from metrics.attention_maps import AttentionMapScore, MapRules


class MapEvaluation(Evaluation):
    """The numbers of the MCB attention paper, beside two baselines that look at nothing: random places, and
    the centre. See `metrics.attention_maps`.

    Average precision is averaged over the words that the module knows (its ``words``). Queries without boxes
    are asked, too, and their maps should stay blank.

    Args:
        boxes: which box of a map is judged, see `metrics.attention_maps.MapRules`; results of ``whole`` are
            called ``map``, those of ``largest`` so.
        thresholds: shares of a map's largest value above which a pixel belongs to the map; results of the
            second and later ones are called ``map@<threshold>``.
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
                "thresholds are shares of the largest value, in [0, 1), and at least one, as of boxes, "
                f"not {thresholds}."
            )
        self.protocols = []
        for box in boxes:
            for number, threshold in enumerate(thresholds):
                name = "map" if box == "whole" else "largest"
                if number > 0:
                    name = f"{name}@{threshold:g}"
                self.protocols.append(MapRules(name, threshold, blank, box=box))

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Asks the module for its words."""
        super().setup(trainer, pl_module, stage)
        self.words: tuple[str, ...] = tuple(getattr(pl_module, "words", ()))

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], AttentionMapScore]:
        """All rules and the baselines in ``test``; the module under the first rules in ``val``."""
        if stage == "val":
            first = self.protocols[0]
            return {(first.name, "model"): AttentionMapScore(first, self.words)}
        return {
            (rules.name, method): AttentionMapScore(rules, self.words)
            for rules in self.protocols
            for method in ("model", *BASELINES)
        }

    def rules(self) -> dict[str, Any]:
        """The fields of each of the rules."""
        return {rules.name: asdict(rules) for rules in self.protocols}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        """Adds a batch."""
        maps = {"model": model_heatmaps(trainer, pl_module, batch)}
        for _, method in scores:
            if method not in maps:
                maps[method] = baseline_heatmaps(method, batch)
        sizes = batch.sizes[batch.image_of_query]
        for (_, method), score in scores.items():
            score.update(maps[method], batch.phrases, batch.boxes, sizes, batch.keys)
