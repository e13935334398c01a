"""A line for each epoch, for logs that are read as files."""

from __future__ import annotations

import time

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class EpochLines(pl.Callback):
    """Takes the progress bar's place where the output is not a terminal."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        shown = [f"{name}={value.item():.4g}" for name, value in trainer.callback_metrics.items() if name.startswith(("train/", "val/"))]
        seconds = time.monotonic() - self.started
        rank_zero_info(f"epoch {trainer.current_epoch}, step {trainer.global_step}, {seconds:.0f} s: {', '.join(shown)}")
