"""Callbacks that a test's configuration names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from datamodules.errors import DataError


class Slow(pl.Callback):
    """Makes a step take long enough for something to happen in it, and notes who takes part."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        time.sleep(self.seconds)
        path = Path(trainer.default_root_dir) / f"step-{trainer.global_rank}"
        path.write_text(str(trainer.global_step))

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        time.sleep(20 * self.seconds)
        (Path(trainer.default_root_dir) / f"testing-{trainer.global_rank}").touch()


class FailAt(pl.Callback):
    """Fails on one process, as a broken disk of its node would make it."""

    def __init__(self, rank: int, step: int) -> None:
        self.rank = rank
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == self.step:
            raise DataError("the disk of this node is gone.")
