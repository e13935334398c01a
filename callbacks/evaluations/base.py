"""What all evaluations share: a score for each data set, protocol and method, one table, and one
``metrics.json`` for the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from callbacks.evaluations.results import Result, format_table, tidy
from callbacks.run.run_record import RunRecord
from lightning_modules.base import ModelError
from lightning_modules.capabilities import require
from metrics.intervals import Estimate


class Score(Protocol):
    """A torchmetrics metric of sums, whose ``compute`` gives estimates by name."""

    def compute(self) -> dict[str, Estimate]: ...

    def to(self, device: Any) -> Any: ...


Scores = dict[tuple[str, str], Any]  # by protocol and method; the values are of type Score


class Evaluation(pl.Callback):
    """Base of all evaluations. Each judges the data sets of one kind, by one capability of the module.

    Numbers are logged as ``<stage>/<dataset>/<protocol>/<metric>``. ``test`` also judges baselines that know
    nothing by the same rules, prints a table, and writes ``test/metrics.json`` with the results of all
    evaluations of the run.

    Attributes:
        capability: what the module must be able to do (a protocol of `lightning_modules.base`).
        batch_type: what the data sets that it judges give; others are left to other evaluations.
    """

    capability: ClassVar[type]
    batch_type: ClassVar[type]

    # What an evaluation implements.

    def new_scores(self, dataset: str, source: Any, stage: str) -> Mapping[tuple[str, str], Score]:
        """An empty score for each protocol and method; the module itself is called ``model``. ``stage`` is
        ``val`` or ``test``.
        """
        raise NotImplementedError

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: Any, scores: Scores) -> None:
        """Adds a batch, which is not empty, to the scores of its data set."""
        raise NotImplementedError

    def rules(self) -> dict[str, Any]:
        """What each protocol means, for ``metrics.json``."""
        return {}

    # What the trainer calls.

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require(pl_module, self.capability, type(self).__name__)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, "val")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._judge(trainer, pl_module, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, "test")
        kinds = {evaluation.batch_type for evaluation in evaluations(trainer)}
        for name, kind in trainer.datamodule.judged_batches().items():  # type: ignore[attr-defined]
            if kind not in kinds:
                raise ModelError(
                    f"no evaluation of this config judges {name} (a set of {kind.__name__}); name one in trainer.callbacks."
                )

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._judge(trainer, pl_module, batch, dataloader_idx)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "test")
        if trainer.is_global_zero and self.results:
            for dataset in {result.dataset for result in self.results if not result.n}:
                rank_zero_info(
                    f"nothing of {dataset} was judged: it holds no answer that the protocol asks for (of queries: no `boxes`)."
                )
            rank_zero_info(f"\n{format_table(self.results)}")
        if self is evaluations(trainer)[-1]:
            self._write(trainer, pl_module)

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.started, self.results = time.monotonic(), list[Result]()
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.datasets = list(datamodule.judged_sources())
        self.scores: dict[str, Scores] = {}
        for name, source in datamodule.judged_sources().items():
            if datamodule.judged_batches()[name] is self.batch_type:
                self.scores[name] = {
                    key: score.to(pl_module.device)
                    for key, score in self.new_scores(name, source, stage).items()
                }

    def _judge(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, dataloader_idx: int
    ) -> None:
        scores = self.scores.get(self.datasets[dataloader_idx])
        if scores and len(batch):
            self.update(trainer, pl_module, batch, scores)

    def _finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        """On all processes, since ``compute`` adds their sums: every process logs the same keys and values."""
        self.results = [
            Result(dataset, protocol, method, metric, **asdict(estimate))
            for dataset, scores in self.scores.items()
            for (protocol, method), score in scores.items()
            for metric, estimate in score.compute().items()
        ]
        values = {
            f"{stage}/{result.dataset}/{result.protocol}/{result.metric}": result.value
            for result in self.results
            if result.method == "model"
        }
        pl_module.log_dict(values, batch_size=1, rank_zero_only=False)

    @staticmethod
    def _write(trainer: pl.Trainer, pl_module: Any) -> None:
        """The results of all evaluations, by the last of them."""
        skipped = sum(count for _, count, _ in trainer.datamodule.skipped())  # type: ignore[attr-defined]
        skipped = int(trainer.strategy.reduce(torch.tensor(skipped), reduce_op="sum"))
        if not trainer.is_global_zero:
            return
        record = next((callback for callback in trainer.callbacks if isinstance(callback, RunRecord)), None)  # type: ignore[attr-defined]
        judged, checkpoint = evaluations(trainer), trainer.ckpt_path
        content = {
            "run": Path(trainer.default_root_dir).name,
            "checkpoint": str(checkpoint) if checkpoint else None,
            "step": pl_module.loaded_step,
            "seconds": round(time.monotonic() - min(evaluation.started for evaluation in judged), 1),
            "skipped": skipped,
            "protocols": {name: rules for evaluation in judged for name, rules in evaluation.rules().items()},
            "results": [tidy(result) for evaluation in judged for result in evaluation.results],
            **(record.provenance(trainer, pl_module) if record else {}),
        }
        path = Path(trainer.default_root_dir) / "test" / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(content, indent=2))
        partial.replace(path)
        rank_zero_info(f"{f'{skipped} records were skipped; ' if skipped else ''}written to {path}")


def evaluations(trainer: pl.Trainer) -> list[Evaluation]:
    """All evaluations of a trainer, in order."""
    return [callback for callback in trainer.callbacks if isinstance(callback, Evaluation)]  # type: ignore[attr-defined]
