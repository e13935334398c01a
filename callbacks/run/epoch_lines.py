"""Progress for logs that are read as files."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class EpochLines(pl.Callback):
    """A line for each epoch, and one a minute within long ones, in place of the progress bar where the output
    is not a terminal.

    Args:
        seconds: between two lines within an epoch.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self.start_time = time.monotonic()
        self.start_step = trainer.global_step
        self.max_steps = trainer.max_steps  # the trainer's own is lowered where a signal stops the run
        self.last_time = self.start_time
        self.last_step = self.start_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """A line if the last one is a minute old."""
        if time.monotonic() - self.last_time > self.seconds:
            self._print_line(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A line, unless this very step has one."""
        if self.last_step != trainer.global_step:
            self._print_line(trainer)

    def _print_line(self, trainer: pl.Trainer) -> None:
        self.last_time = time.monotonic()
        self.last_step = trainer.global_step
        pace = (self.last_time - self.start_time) / max(1, trainer.global_step - self.start_step)
        total = f"/{self.max_steps}" if self.max_steps > 0 else ""
        numbers = [
            f"{name.removeprefix('train/')}={value.item():.4g}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("train/", "val/"))
        ]
        rank_zero_info(
            f"epoch {trainer.current_epoch} step {trainer.global_step}{total} ({pace:.2f} s/step): "
            + " ".join(numbers)
        )
