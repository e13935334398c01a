"""Judges whether a module scores the right one of a pair higher: SVO-Probes, FOIL-COCO."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import PairRankBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanMatch
from metrics.pair_ranking import PairRanking


class RankEvaluation(Evaluation):
    """Accuracy over all pairs and over each of their groups. Chance is one half, so there is no baseline
    beside it; a tie counts as wrong.
    """

    capability: ClassVar[type] = CanMatch
    batch_type: ClassVar[type] = PairRankBatch

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], PairRanking]:
        """One score, with the groups that occur in the set."""
        source = judged.source
        groups = sorted({source.pair(index).group for index in range(len(source))})
        return {("pairs", "model"): PairRanking(groups)}

    def rules(self) -> dict[str, Any]:
        """When a pair is right."""
        return {"pairs": {"correct": "the right one scores strictly higher", "accuracy": "over all pairs"}}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: PairRankBatch, scores: Scores) -> None:
        """Adds a batch."""
        with trainer.precision_plugin.forward_context():
            similarities = pl_module.match(batch.images, batch.texts).float()
        right = similarities[batch.positive[:, 0], batch.positive[:, 1]]
        wrong = similarities[batch.negative[:, 0], batch.negative[:, 1]]
        for score in scores.values():
            score.update(right, wrong, batch.groups)
