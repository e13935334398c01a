"""Brings a model and its data together, once, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

import lightning.pytorch as pl

from callbacks.base import SetCallback
from callbacks.run.accounts import Accounts
from datamodules.base import GroundingDataModule
from lightning_modules.base import WeakgroundModule


def connect(
    module: WeakgroundModule, datamodule: GroundingDataModule, callbacks: Iterable[pl.Callback] = ()
) -> None:
    """Tells the data what the model needs, and the model and its evaluations what the data supply.

    Args:
        module: states its needs.
        datamodule: serves them.
        callbacks: of the trainer; evaluations and galleries are given the data.
    """
    datamodule.serve(module.needs)
    module.supply = datamodule
    for callback in callbacks:
        if isinstance(callback, SetCallback | Accounts):
            callback.supply = datamodule
