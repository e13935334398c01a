"""Judges whether a module scores the right one of a pair higher: SVO-Probes, FOIL-COCO."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
import torch

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import PairRankBatch
from lightning_modules.capabilities import CanMatch
from metrics.pair_ranking import PairRanking


class RankEvaluation(Evaluation):
    """Accuracy over all pairs and over each of their groups. Chance is one half, so there is no baseline
    beside it; a tie counts as wrong.
    """

    capability: ClassVar[type] = CanMatch
    batch_type: ClassVar[type] = PairRankBatch

    def new_scores(self, dataset: str, source: Any, stage: str) -> dict[tuple[str, str], PairRanking]:
        return {
            ("pairs", "model"): PairRanking(
                sorted({source.pair(index).group for index in range(len(source))})
            )
        }

    def rules(self) -> dict[str, Any]:
        return {"pairs": {"correct": "the right one scores strictly higher", "accuracy": "over all pairs"}}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: PairRankBatch, scores: Scores) -> None:
        with trainer.precision_plugin.forward_context():
            similarities = pl_module.match(batch.images, batch.texts).float()
        of_pair = torch.stack([batch.positive, batch.negative])
        right, wrong = similarities[of_pair[..., 0], of_pair[..., 1]]
        for score in scores.values():
            score.update(right, wrong, batch.groups)
