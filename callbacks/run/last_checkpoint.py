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

    A signal's handler only sets a flag; all processes agree on it at the end of the step, save, and stop.
    (Saving inside a handler, as Lightning does for SLURM, can catch the optimiser half-way through a step.) A
    validation that was due at that step is left out for good. A second Ctrl-C stops at once. The file is
    replaced by renaming, so that it is never half written.

    Args:
        path: of the checkpoint.
        every: steps between two writes.

    Attributes:
        stopped: whether a signal, to whichever process, ended the run before its time.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every
        self.received: int | None = None
        self.stopped = False
        self.saved_step: int | None = None
        self._previous: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._previous = {number: signal.getsignal(number) for number in self.SIGNALS}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # In the place of Lightning's own handler, which talks to the other processes while a step may be
        # doing so, too.
        self._handle(dict.fromkeys(self.SIGNALS, self._note))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._handle(self._previous)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._handle(self._previous)

    @staticmethod
    def _handle(handlers: dict[int, Any]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return  # gradients that are still being summed would not be in the checkpoint
        flag = torch.tensor(int(self.received is not None), device=trainer.strategy.root_device)
        if trainer.strategy.reduce(flag, reduce_op="sum"):
            self.save(trainer)
            self.stopped = trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0
            trainer.fit_loop.epoch_loop.min_steps = None
            trainer.limit_val_batches = 0  # who asked may not wait for a validation
            rank_zero_info(
                f"stopped at step {trainer.global_step}; the same command with --ckpt_path last goes on from {self.path}."
            )
        elif trainer.global_step % self.every == 0 or self._is_last_step(trainer):
            self.save(trainer)

    @staticmethod
    def _is_last_step(trainer: pl.Trainer) -> bool:
        return trainer.global_step == trainer.max_steps or (
            trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not again after the last step: Lightning's counters have by now left the epoch, and a longer run
        # could not go on from there.
        if self.saved_step != trainer.global_step:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """On all processes."""
        self.saved_step = trainer.global_step
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial, weights_only=False)
        if trainer.is_global_zero:
            os.replace(partial, self.path)
