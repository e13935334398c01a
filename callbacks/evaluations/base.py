"""What all evaluations share: a score for each data set, protocol and method, one table, and one
``metrics.json`` for the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from callbacks.base import SetCallback
from callbacks.evaluations.results import Result, format_table, tidy
from callbacks.run.accounts import accounts_of
from callbacks.run.run_record import RunRecord
from datamodules.handover import JudgedSet
from datamodules.storage.whole_files import write_whole
from lightning_modules.errors import ModelError
from metrics.intervals import Estimate


class Score(Protocol):
    """A torchmetrics metric of sums, whose ``compute`` gives estimates by name."""

    def compute(self) -> dict[str, Estimate]:
        """The numbers over all processes."""
        ...

    def to(self, device: Any) -> Any:
        """Moves the sums to a device."""
        ...


Scores = dict[tuple[str, str], Any]  # by protocol and method; the values are of type Score


class Evaluation(SetCallback):
    """Base of all evaluations. Each judges the data sets of one kind, by one capability of the module.

    Numbers are logged as ``<stage>/<dataset>/<protocol>/<metric>``. ``test`` also judges baselines that look
    at nothing by the same rules, prints a table, and writes ``test/metrics.json`` with the results of all
    evaluations of the run.

    A measure over the whole set, such as retrieval, keeps what it needs of each batch in a
    `metrics.whole_set.WholeSet` of its score, and compares in `finish`, or in the score's ``compute``.

    Attributes:
        scores: the scores of each data set, by its name.
        results: the numbers of the last stage that ended.
    """

    scores: dict[str, Scores]
    results: list[Result]

    # What an evaluation implements.

    def new_scores(self, judged: JudgedSet, stage: str) -> Mapping[tuple[str, str], Score]:
        """Empty scores of a data set.

        Args:
            judged: the data set.
            stage: ``val`` or ``test``.

        Returns:
            A score for each protocol and method; the module itself is called ``model``.
        """
        raise NotImplementedError

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: Any, scores: Scores) -> None:
        """Adds a batch, which is not empty, to the scores of its data set."""
        raise NotImplementedError

    def finish(self, trainer: pl.Trainer, pl_module: Any, scores: Scores) -> None:
        """After the last batch of a data set, on all processes, before the scores compute.

        What is gathered here is the same on all processes. Where a score adds over processes, each of them
        must add its own share only, say rows ``[trainer.global_rank :: trainer.world_size]``.
        """

    def rules(self) -> dict[str, Any]:
        """What each protocol means, for ``metrics.json``."""
        return {}

    # What the trainer calls.

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Makes empty scores.

        Raises:
            ModelError: in ``test``, a set that no evaluation judges.
        """
        self.started = time.monotonic()
        self.results = []
        self.scores = {}
        if stage == "test":
            self._check_that_all_sets_are_judged(trainer)
        for judged in self.sets:
            if judged.batch is self.batch_type:
                scores = self.new_scores(judged, stage)
                self.scores[judged.name] = {key: score.to(pl_module.device) for key, score in scores.items()}

    def see(self, trainer: pl.Trainer, pl_module: Any, batch: Any, judged: JudgedSet) -> None:
        """Adds a batch to the scores of its set."""
        self.update(trainer, pl_module, batch, self.scores[judged.name])

    def end(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Computes and logs; in ``test``, prints the table and writes ``metrics.json``, too."""
        self._compute(trainer, pl_module, stage)
        if stage != "test":
            return
        if trainer.is_global_zero and self.results:
            answered = {result.dataset for result in self.results if result.n}
            for dataset in sorted({result.dataset for result in self.results} - answered):
                rank_zero_info(
                    f"nothing of {dataset} was judged: it holds no answer that the protocol asks for "
                    "(of queries: no `boxes`)."
                )
            rank_zero_info(f"\n{format_table(self.results)}")
        if self is evaluations(trainer)[-1]:
            self._write(trainer, pl_module)

    def _check_that_all_sets_are_judged(self, trainer: pl.Trainer) -> None:
        judged_types = {evaluation.batch_type for evaluation in evaluations(trainer)}
        for judged in self.sets:
            if judged.batch not in judged_types:
                raise ModelError(
                    f"no evaluation of this config judges {judged.name} (a set of {judged.batch.__name__}); "
                    "name one in trainer.callbacks."
                )

    def _compute(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """On all processes: ``compute`` adds their sums, and all of them log the same keys and values."""
        for scores in self.scores.values():
            self.finish(trainer, pl_module, scores)
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
        if trainer.state.fn != "fit":
            # Loggers put them at the step of the checkpoint, in place of step 0.
            trainer.fit_loop.epoch_loop._batches_that_stepped = pl_module.loaded_step
        pl_module.log_dict(values, batch_size=1, rank_zero_only=False)

    def _write(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """The results of all evaluations, by the last of them."""
        accounts = accounts_of(trainer, self.supply)
        if not trainer.is_global_zero:
            return
        all_evaluations = evaluations(trainer)
        started = min(evaluation.started for evaluation in all_evaluations)
        protocols: dict[str, Any] = {}
        results: list[dict[str, Any]] = []
        for evaluation in all_evaluations:
            protocols |= evaluation.rules()
            results += [tidy(result) for result in evaluation.results]
        content = {
            "run": Path(trainer.default_root_dir).name,
            "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
            "step": pl_module.loaded_step,
            "seconds": round(time.monotonic() - started, 1),
            "skipped": sum(account.skipped for account in accounts),
            "records": {account.name: account.as_json() for account in accounts},
            "protocols": protocols,
            "results": results,
            **_provenance(trainer, pl_module),
        }
        path = Path(trainer.default_root_dir) / "test" / "metrics.json"
        write_whole(path, json.dumps(content, indent=2))
        rank_zero_info(f"written to {path}")


def evaluations(trainer: pl.Trainer) -> list[Evaluation]:
    """All evaluations of a trainer, in order."""
    return [callback for callback in _callbacks(trainer) if isinstance(callback, Evaluation)]


def _provenance(trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
    """What the run's record knows, if the run keeps one."""
    for callback in _callbacks(trainer):
        if isinstance(callback, RunRecord):
            return callback.provenance(trainer, pl_module)
    return {}


def _callbacks(trainer: pl.Trainer) -> list[pl.Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]
