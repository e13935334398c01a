"""The checkpoint that a run goes on from, whatever ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loops.evaluation_loop import RestartStage
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from callbacks.run import signals


class LastCheckpoint(pl.Callback):
    """Writes ``last.ckpt`` every so many steps, before each validation, at the end, and when a signal asks
    the run to stop.

    A signal's handler only takes note (`callbacks.run.signals`); all processes agree at the end of the step,
    save, and stop. (Saving inside a handler, as Lightning does for SLURM, can catch the optimiser half-way
    through a step.) How a file is written, `callbacks.run.checkpoint_files` says.

    Every checkpoint of the run holds Lightning's counters as they were at the end of its last step, whenever
    it is written, since that is the one moment from which Lightning resumes in every mode. A validation that
    was due at that step and has not taken place, because the run was stopped, takes place when the run is
    resumed.

    Args:
        path: of the checkpoint.
        every: steps between two writes.

    Attributes:
        stopped: whether a signal, to whichever process, ended the run before its time.
        validation_due: whether a validation has yet to follow the last step; kept in checkpoints.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self.stopped = False
        self.validation_due = False
        self._counters: dict[str, Any] | None = None  # of Lightning's loops at the end of the last step
        self._max_steps: int | None = None  # while it is lifted for a validation that is due
        self._listening = False

    def state_dict(self) -> dict[str, Any]:
        """Whether a validation is due, for the checkpoint."""
        return {"validation_due": self.validation_due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over whether a validation is due."""
        self.validation_due = state_dict["validation_due"]

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Writes the counters of the last step's end, whenever the checkpoint is written."""
        if self._counters is not None:
            checkpoint["loops"]["fit_loop"] = self._counters
            checkpoint["epoch"] = self._counters["epoch_progress"]["current"]["completed"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps a finished run open for a validation that is due."""
        if self.validation_due:
            # A run whose last step is done would otherwise end before its validation.
            self._max_steps = trainer.max_steps
            trainer.fit_loop.epoch_loop.max_steps = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listens to signals if nobody does so yet, and puts right what Lightning resumes wrongly."""
        self._listening = signals.listen()
        if trainer.fit_loop.epoch_loop.restarted_on_train_batch_end:
            self._resume(trainer)
        if not self.validation_due:
            self._restore_max_steps(trainer)

    def _resume(self, trainer: pl.Trainer) -> None:
        """Puts right how Lightning resumes after the step that the checkpoint was written at.

        If that step was the last of its epoch, Lightning has by now counted the epoch as done.
        """
        epoch_loop = trainer.fit_loop.epoch_loop
        epoch_ended = epoch_loop.batch_progress.is_last_batch
        if self.validation_due:
            if epoch_ended:
                count_epoch(trainer, -1)
            self.validation_due = validation_follows(trainer)
            if self.validation_due:
                self._counters = trainer.fit_loop.state_dict()
                resume_at_validation(trainer)
                return
            if epoch_ended:
                count_epoch(trainer, 1)
        if epoch_ended:
            resume_at_epoch_start(trainer)

    def _restore_max_steps(self, trainer: pl.Trainer) -> None:
        if self._max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps = self._max_steps
            self._max_steps = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The validation that was due is done."""
        self.validation_due = False
        self._restore_max_steps(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives the signals back."""
        self._stop_listening()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listening:
            signals.stop_listening()
            self._listening = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time to, and stops the run if a signal has come to any process."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return  # gradients that are still being summed would not be in the checkpoint
        self._counters = trainer.fit_loop.state_dict()
        self.validation_due = validation_follows(trainer)
        flag = torch.tensor(int(bool(signals.received())), device=trainer.strategy.root_device)
        if trainer.strategy.reduce(flag, reduce_op="sum"):
            self.save(trainer)
            self.stopped = True
            # Not `should_stop`: Lightning would log this step, too, which the resumed run would not.
            trainer.fit_loop.epoch_loop.max_steps = trainer.global_step
            trainer.limit_val_batches = 0  # a validation may take longer than a cluster waits
            rank_zero_info(
                f"stopped at step {trainer.global_step}; the same command with --ckpt_path last goes on "
                f"from {self.path}."
            )
        elif trainer.global_step % self.every == 0 or self.validation_due:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of the run."""
        # Even if the last step is saved already: other callbacks keep what they learnt from its validation.
        if self._counters is not None and not self.stopped:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the checkpoint; to be called on all processes."""
        trainer.save_checkpoint(self.path, weights_only=False)


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning validates after the step that has just been done."""
    epoch_loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None, "only while a run trains"
    if not epoch_loop._should_check_val_fx(fetcher):
        return False
    epoch_loop.val_loop.setup_data()
    return not epoch_loop.val_loop.skip  # where there is nothing to validate on


def count_epoch(trainer: pl.Trainer, number: int) -> None:
    """Counts ``number`` more epochs as done; fewer, if it is negative."""
    progress: Any = trainer.fit_loop.epoch_progress
    for counts in (progress.total, progress.current):
        counts.processed += number
        counts.completed += number


def resume_at_epoch_start(trainer: pl.Trainer) -> None:
    """Lets a run that was resumed after the last step of an epoch begin the next one as any other.

    Lightning counts the old epoch as done, but goes on as if in the middle of it: the new one would not be
    counted as begun, and a second resume, from its end, would run it again or feed its images again.
    """
    epoch_loop = trainer.fit_loop.epoch_loop
    trainer.fit_loop.reset_restart_stage()
    epoch_loop.restarting = False
    # For the step before; Lightning does so only where the loop restarts.
    epoch_loop._batches_that_stepped += 1


def resume_at_validation(trainer: pl.Trainer) -> None:
    """Lets a resumed run begin with the validation that was due after its last step, and then go on.

    By itself Lightning would count that validation as done, so it is told that it was interrupted.
    """
    epoch_loop = trainer.fit_loop.epoch_loop
    epoch_loop.batch_progress.increment_completed()
    epoch_loop.update_restart_stage()
    epoch_loop.val_loop.restarting = False  # from its first batch
    epoch_loop.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
