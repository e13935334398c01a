"""Judges any module that can `ground`, on every evaluation set, under every protocol that the config names."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from callbacks.results import Result, format_table, tidy
from callbacks.run_record import RunRecord
from datamodules.batches import GroundingBatch
from lightning_modules.base import CanGround, require
from metrics.baselines import centre_heatmaps, random_heatmaps
from metrics.grounding import GroundingScore
from metrics.protocols import Protocol, protocol


class GroundingEvaluation(pl.Callback):
    """Pointing game, box accuracy and mean IoU, logged as ``<stage>/<dataset>/<protocol>/<metric>``.

    ``test`` also judges two baselines that know nothing (random places, the centre) by the same rules, prints a table, and writes ``test/metrics.json``.

    Args:
        protocols: names of presets of `metrics.protocols`; validation uses the first.
        changes: fields of the protocols to set otherwise, e.g. ``{min_area: 0.05}``; the changed protocols are then called ``<name>*``.
    """

    def __init__(self, protocols: list[str] = ["clean"], changes: dict[str, Any] | None = None) -> None:  # noqa: B006 (read only)
        self.protocols = [replace(protocol(name, **(changes or {})), name=f"{name}*" if changes else name) for name in protocols]
        self.scores: dict[tuple[str, str, str], GroundingScore] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require(pl_module, CanGround, type(self).__name__)

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, protocols: list[Protocol], methods: tuple[str, ...]) -> None:
        self.started = time.monotonic()
        sources = trainer.datamodule.judged_sources()  # type: ignore[attr-defined]
        self.datasets = list(sources)
        self.scores = {
            (dataset, rules.name, method): GroundingScore(rules, source.published_boxes).to(pl_module.device)
            for dataset, source in sources.items()
            for rules in protocols
            for method in methods
        }

    def _update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, dataloader_idx: int) -> None:
        if not len(batch):
            return
        dataset = self.datasets[dataloader_idx]
        wanted = {key: score for key, score in self.scores.items() if key[0] == dataset}
        maps: dict[str, Tensor] = {}
        for (_, _, method), score in wanted.items():
            # Protocols with the same prompt share their maps, and an image is encoded once for all its phrases.
            name = f"model {score.rules.prompt}" if method == "model" else method
            if name not in maps:
                maps[name] = self._maps(trainer, pl_module, batch, method, score.rules.prompt)
            score.update(maps[name], batch.boxes, batch.image_of_query, batch.chain_of_query, batch.sizes, batch.keys)

    @staticmethod
    def _maps(trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, method: str, prompt: str) -> Tensor:
        if method == "centre":
            return centre_heatmaps(len(batch))
        if method == "random":  # mentions of a chain share a place, or averaging them would draw it to the middle
            first = {chain: key for chain, key in reversed(list(zip(batch.chain_of_query.tolist(), batch.keys, strict=True)))}
            return random_heatmaps([first[chain] for chain in batch.chain_of_query.tolist()])
        with trainer.precision_plugin.forward_context():
            return pl_module.ground(batch.images, [f"{prompt}{phrase}" for phrase in batch.phrases], batch.image_of_query).float()

    def _results(self) -> list[Result]:
        """On all processes, since ``compute`` adds their sums."""
        return [
            Result(dataset, rules, method, metric, **asdict(estimate))
            for (dataset, rules, method), score in self.scores.items()
            for metric, estimate in score.compute().items()
        ]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, self.protocols[:1], ("model",))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._update(trainer, pl_module, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(pl_module, "val", self._results())

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, self.protocols, ("model", "centre", "random"))

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._update(trainer, pl_module, batch, dataloader_idx)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        results = self._results()
        self._log(pl_module, "test", results)
        skipped = trainer.strategy.reduce(torch.tensor(sum(count for _, count, _ in trainer.datamodule.skipped())), reduce_op="sum")  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            path = self._write(trainer, pl_module, results, int(skipped))
            for dataset in {result.dataset for result in results if not result.n}:
                rank_zero_info(f"no query of {dataset} was judged: none has a box that the protocol asks for (the key is `boxes`).")
            rank_zero_info(f"\n{format_table(results)}\n{f'{int(skipped)} records were skipped; ' if skipped else ''}written to {path}")

    @staticmethod
    def _log(pl_module: pl.LightningModule, stage: str, results: list[Result]) -> None:
        # Every process logs the same keys, and values that are already sums over all processes.
        values = {f"{stage}/{result.dataset}/{result.protocol}/{result.metric}": result.value for result in results if result.method == "model"}
        pl_module.log_dict(values, batch_size=1, rank_zero_only=False)

    def _write(self, trainer: pl.Trainer, pl_module: Any, results: list[Result], skipped: int) -> Path:
        record = next((callback for callback in trainer.callbacks if isinstance(callback, RunRecord)), None)  # type: ignore[attr-defined]
        checkpoint = trainer.ckpt_path
        content = {
            "run": Path(trainer.default_root_dir).name,
            "checkpoint": str(checkpoint) if checkpoint else None,
            "step": pl_module.loaded_step,
            "seconds": round(time.monotonic() - self.started, 1),
            "skipped": skipped,
            "protocols": {rules.name: asdict(rules) for rules in self.protocols},
            "results": [tidy(result) for result in results],
            **(record.provenance(trainer, pl_module) if record else {}),
        }
        path = Path(trainer.default_root_dir) / "test" / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(content, indent=2))
        partial.replace(path)
        return path
