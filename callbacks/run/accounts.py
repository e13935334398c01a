"""The sum of all records at the end of a stage: used, left out, skipped."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.accounts import Account, Reading
from datamodules.handover import Supply


class Accounts(pl.Callback):
    """Prints a line for each data set when training, judging or predicting ends.

    Attributes:
        supply: the data; set once by the command line, before anything runs.
    """

    supply: Supply

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the training set."""
        self._print(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the sets of ``validate``; a validation within a fit has no line."""
        if trainer.state.fn == "validate":
            self._print(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the sets of ``test``."""
        self._print(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the sets of ``predict``."""
        self._print(trainer)

    def _print(self, trainer: pl.Trainer) -> None:
        for account in accounts_of(trainer, self.supply):
            rank_zero_info(account)


def accounts_of(trainer: pl.Trainer, supply: Supply) -> list[Account]:
    """The accounts of the running stage's sets over all processes; to be called on all of them."""
    ledgers = supply.ledgers()
    own: list[Reading] = [ledger.reading for ledger in ledgers]
    readings: list[Any] = [own] * trainer.world_size
    if trainer.world_size > 1:
        torch.distributed.all_gather_object(readings, own)
    return [
        ledger.account(of_set) for ledger, of_set in zip(ledgers, zip(*readings, strict=True), strict=True)
    ]
