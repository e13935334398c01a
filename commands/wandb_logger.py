"""Weights & Biases where there is an account.

Without one nothing of W&B runs: the run's folder holds all that it would be told (`metrics.csv`, the
configuration, pictures, results), and `python cli.py sync` uploads it later.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from commands.wandb_account import STEP, has_account, run_id, run_options


class OnlineRun(WandbLogger):
    """W&B's logger, whose failures never become the run's.

    W&B talks to its server in a process of its own, which a signal to the job ends, too. When that process is
    lost, or the server is, the run goes on without; all numbers are in ``metrics.csv``.

    Args:
        options: of ``wandb.init``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lost = False
        self._sent: int | None = None  # the last step that an earlier start has sent

    @property
    def experiment(self) -> Any:
        """W&B's run, or something that takes no notice once W&B is lost."""
        if self._lost:
            return DummyExperiment()
        try:
            return super().experiment
        except Exception as error:
            self._give_up(error)
            return DummyExperiment()

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Sends numbers, unless an earlier start has sent those of this step."""
        if self._lost:
            return
        try:
            if self._sent is None:
                self._sent = int(self.experiment.summary.get(STEP) or -1)
            is_test = any(name.startswith("test/") for name in metrics)
            if step is None or step > self._sent or is_test:
                super().log_metrics(metrics, step)
        except Exception as error:
            self._give_up(error)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Sends the configuration."""
        try:
            super().log_hyperparams(params)
        except Exception as error:
            self._give_up(error)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Sends the best checkpoint, if it is asked for."""
        try:
            if not self._lost:
                super().finalize(status)
        except Exception as error:
            self._give_up(error)

    @rank_zero_only
    def close(self) -> None:
        """Waits until all is sent."""
        if self._lost or self._experiment is None:
            return
        try:
            self._experiment.finish()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not self._lost:
            self._lost = True
            rank_zero_warn(
                f"W&B is lost ({type(error).__name__}: {error}); the run goes on without it. All numbers are "
                f"in {self.save_dir}/metrics.csv, and `python cli.py sync` uploads them."
            )


def wandb_logger(folder: Path, name: str, upload_best: bool = False) -> WandbLogger | None:
    """The W&B logger of a run; None without an account.

    Args:
        folder: of the run.
        name: of the run, as W&B shows it.
        upload_best: whether the best checkpoint is sent as an artifact at the end.

    Returns:
        The logger, if there is an account. ``WANDB_MODE`` (online, offline, disabled) overrules that.
    """
    # Before its first import. The one line below says what matters.
    os.environ.setdefault("WANDB_SILENT", "true")
    mode = os.environ.get("WANDB_MODE") or ("online" if has_account() else "offline")
    if mode == "offline":
        run_id(folder)
        rank_zero_info(
            f"W&B: no account, or WANDB_MODE=offline; `python cli.py sync` uploads {folder} later."
        )
    if mode != "online":
        return None
    return OnlineRun(**run_options(folder, name), mode=mode, log_model=upload_best)
