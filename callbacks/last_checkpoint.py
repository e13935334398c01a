"""The checkpoint that a run goes on from, whatever ends it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info


class LastCheckpoint(pl.Callback):
    """Writes ``last.ckpt`` every so many steps, at the end, and when Ctrl-C or SIGTERM asks the run to stop.

    A signal's handler only sets a flag; all processes agree on it at the end of the step, save, and stop. (Saving inside a handler, as Lightning does for
    SLURM, can catch the optimiser half-way through a step.) A second Ctrl-C stops at once. The file is replaced by renaming, so that it is never half
    written.

    Args:
        path: of the checkpoint.
        every: steps between two writes.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return  # gradients that are still being summed would not be in the checkpoint
        flag = torch.tensor(int(self.received is not None), device=trainer.strategy.root_device)
        if trainer.strategy.reduce(flag, reduce_op="sum"):
            self.save(trainer)
            trainer.should_stop, trainer.fit_loop.min_steps = True, None
            rank_zero_info(f"stopped at step {trainer.global_step}; the same command with --ckpt_path last goes on from {self.path}.")
        elif trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.received is None:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """On all processes."""
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.path)
