"""Progress for logs that are read as files."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class EpochLines(pl.Callback):
    """A line for each epoch, and one a minute within long ones, in the progress bar's place where the output
    is not a terminal.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.said = time.monotonic()
        self.first_step = self.said_step = trainer.global_step

    def _say(self, trainer: pl.Trainer) -> None:
        self.said, self.said_step = time.monotonic(), trainer.global_step
        steps = trainer.global_step - self.first_step
        total = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        numbers = {
            name: value
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("train/", "val/"))
        }
        shown = " ".join(
            f"{name.removeprefix('train/')}={value.item():.4g}" for name, value in numbers.items()
        )
        rank_zero_info(
            f"epoch {trainer.current_epoch} step {trainer.global_step}{total} ({(self.said - self.started) / max(1, steps):.2f} s/step): {shown}"
        )

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if time.monotonic() - self.said > self.seconds:
            self._say(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.said_step != trainer.global_step:
            self._say(trainer)
