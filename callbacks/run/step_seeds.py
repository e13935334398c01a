"""Randomness that a resumed run repeats."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch


class StepSeeds(pl.Callback):
    """Makes what a step draws (drop-out, masked tokens, hard negatives) depend on seed, process, epoch and
    batch alone: a resumed run goes on just as the uninterrupted one would have, without the state of a
    generator in the checkpoint.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds the generator of this process."""
        mixed = self.seed
        for number in (trainer.global_rank, trainer.current_epoch, batch_idx):
            mixed = (mixed * 1_000_003 + number + 1) % 2**63
        torch.manual_seed(mixed)
