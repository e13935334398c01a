"""Callbacks that a test's configuration names."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class StopAt(pl.Callback):
    """Sends this process SIGTERM while a step is at work, as a cluster would."""

    def __init__(self, step: int, accumulated: int = 0) -> None:
        self.step = step
        self.accumulated = accumulated

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (
            trainer.global_step == self.step - 1
            and batch_idx % trainer.accumulate_grad_batches == self.accumulated
        ):
            os.kill(os.getpid(), signal.SIGTERM)


class Order(pl.Callback):
    """Appends what each step was fed to ``<run>/order.txt``."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        kinds = ("captions", "questions", "phrases", "partners")
        texts = [getattr(batch, kind) for kind in kinds if hasattr(batch, kind)]
        with (Path(trainer.default_root_dir) / "order.txt").open("a") as file:
            keys = " ".join(batch.keys)
            pixels = batch.images.double().sum().item()
            file.write(f"{trainer.current_epoch} {batch_idx} {keys} {texts} {pixels}\n")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with (Path(trainer.default_root_dir) / "order.txt").open("a") as file:
            file.write(f"validated epoch {trainer.current_epoch} at step {trainer.global_step}\n")
