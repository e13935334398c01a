"""Ends a run that has nothing to save: in set-up, and between two batches of an evaluation."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from callbacks.run import signals


class Stopping(pl.Callback):
    """Ends the run by `signals.Stopped` once a signal has come, before training and within evaluations.

    Within training, `LastCheckpoint` saves and stops. Before a validation it has saved already, so that a
    validation, too, can end at once, and is repeated by the resumed run.

    Only the first process decides. The others may have fewer batches left, and could not agree with it; they
    end because it does.
    """

    def __init__(self) -> None:
        self._first_step: int | None = None  # of this start's training

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stops before the model is built on the device."""
        self._stop_if_asked(trainer)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops before the first step."""
        self._stop_if_asked(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remembers where this start begins."""
        self._first_step = trainer.global_step

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stops within a validation."""
        self._stop_if_asked(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stops within a test."""
        self._stop_if_asked(trainer)

    def on_predict_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stops within a prediction."""
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero or not signals.received():
            return
        message = "stopped before anything was done; the same command begins again."
        if trainer.validating and self._first_step is not None:
            message = (
                f"stopped in the validation after step {trainer.global_step}; the same command with "
                "--ckpt_path last goes on with it."
            )
        progressed = self._first_step is not None and trainer.global_step > self._first_step
        raise signals.Stopped(message, trainer, progressed)
