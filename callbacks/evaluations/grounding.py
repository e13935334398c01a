"""Judges any module that can `ground`, on every set of phrases with boxes, under every protocol that the
config names.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import Tensor

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.evaluations.decision_table import DecisionTable, write_decisions
from callbacks.heatmaps import baseline_heatmaps, model_heatmaps
from datamodules.batches import GroundingBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGround
from metrics.decision_metrics import DecisionMetric
from metrics.grounding import GroundingScore
from metrics.protocols import Protocol, PublishedBoxes, changed_protocol


class GroundingEvaluation(Evaluation):
    """Pointing game, box accuracy and mean IoU, beside two baselines that look at nothing: random places, and
    the centre.

    ``test`` keeps what was decided on every query in ``test/decisions.parquet``, see
    `callbacks.evaluations.decision_table`.

    Args:
        protocols: names of presets of `metrics.protocols`; validation uses the first.
        protocols_of: protocols of single data sets, by the set's name, instead of ``protocols``.
        changes: fields of the protocols to set otherwise, e.g. ``{min_area: 0.05}``; the changed protocols
            are then called ``<name>*``.
        metrics: further numbers on the decisions, e.g. ``{class_path: BoxAccuracyAt, init_args: {iou: 0.3}}``
            or a class of your own by its package path.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch

    def __init__(
        self,
        protocols: tuple[str, ...] = ("clean",),
        protocols_of: dict[str, list[str]] | None = None,
        changes: dict[str, Any] | None = None,
        metrics: list[DecisionMetric] | None = None,
    ) -> None:
        self.metrics = metrics or []
        self.decisions: DecisionTable | None = None
        self.protocols = [changed_protocol(name, changes) for name in protocols]
        self.protocols_of: dict[str, list[Protocol]] = {}
        for dataset, names in (protocols_of or {}).items():
            self.protocols_of[dataset] = [changed_protocol(name, changes) for name in names]

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], GroundingScore]:
        """All protocols and the baselines in ``test``; the module under the first one in ``val``."""
        protocols = self.protocols_of.get(judged.name, self.protocols)
        published = judged.source.published_boxes
        if stage == "val":
            return {(protocols[0].name, "model"): self._score(protocols[0], published)}
        return {
            (rules.name, method): self._score(rules, published)
            for rules in protocols
            for method in ("model", "centre", "random")
        }

    def _score(self, rules: Protocol, published: PublishedBoxes) -> GroundingScore:
        return GroundingScore(rules, published, further=self.metrics)

    def rules(self) -> dict[str, Any]:
        """The fields of each protocol."""
        return {
            rules.name: asdict(rules)
            for protocols in (self.protocols, *self.protocols_of.values())
            for rules in protocols
        }

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Makes empty scores and, in ``test``, an empty table of decisions."""
        super().begin(trainer, pl_module, stage)
        self.decisions = DecisionTable() if stage == "test" else None

    def see(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, judged: JudgedSet) -> None:
        """Adds a batch to the scores of its set."""
        self.dataset = judged.name
        super().see(trainer, pl_module, batch, judged)

    def end(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Also writes the decisions of a test."""
        super().end(trainer, pl_module, stage)
        if self.decisions is not None:
            table = self.decisions.gather()
            if trainer.is_global_zero:
                write_decisions(Path(trainer.default_root_dir) / "test" / "decisions.parquet", table)

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        """Adds a batch. Protocols with the same prompt share their maps, and an image is encoded once for all
        of its phrases.
        """
        maps: dict[tuple[str, str], Tensor] = {}
        for (protocol, method), score in scores.items():
            prompt = score.rules.prompt if method == "model" else ""
            if (method, prompt) not in maps and method == "model":
                maps[method, prompt] = model_heatmaps(trainer, pl_module, batch, prompt)
            elif (method, prompt) not in maps:
                maps[method, prompt] = baseline_heatmaps(method, batch)
            decisions = score.update(
                maps[method, prompt],
                batch.boxes,
                batch.image_of_query,
                batch.chain_of_query,
                batch.sizes,
                batch.keys,
            )
            if self.decisions is not None:
                self.decisions.add(self.dataset, protocol, method, batch, decisions)
