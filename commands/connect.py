"""Brings a model and its data together, once, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import lightning.pytorch as pl

from datamodules.base import GroundingDataModule
from lightning_modules.base import WeakgroundModule


def connect(
    module: WeakgroundModule, datamodule: GroundingDataModule, callbacks: Iterable[pl.Callback] = ()
) -> None:
    """Tells the data what the model needs, and the model and its evaluations what the data supply.

    Args:
        module: states its needs.
        datamodule: serves them.
        callbacks: those that declare an attribute ``supply`` (evaluations, galleries) are given the data.
    """
    datamodule.serve(module.needs)
    module.supply = datamodule
    for callback in callbacks:
        if declares_supply(type(callback)):
            callback.supply = datamodule  # type: ignore[attr-defined]


def declares_supply(kind: type) -> bool:
    """Whether a class, or one that it inherits from, declares an attribute ``supply``."""
    return any("supply" in inspect.get_annotations(base) for base in kind.__mro__)
