"""Judging a module on given data through a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from commands.connect import connect
from datamodules.base import GroundingDataModule
from lightning_modules.base import WeakgroundModule


class Data(GroundingDataModule):
    """Given sources, to be judged on."""

    name = "data"

    def __init__(self, **sources: Any) -> None:
        super().__init__(batch_size=2, num_workers=0, max_skipped=1.0)
        self.sources = sources

    def training_source(self) -> None:
        return None

    def evaluation_source(self, split: Any) -> Any:
        raise AssertionError

    def evaluation_sources(self, split: Any) -> dict[str, Any]:
        return self.sources


def judge(
    root: Path, data: Any, module: WeakgroundModule, *callbacks: pl.Callback, stage: str = "test"
) -> dict[str, float]:
    """The numbers that ``test``, ``validate`` or ``predict`` log."""
    connect(module, data, callbacks)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        default_root_dir=root,
        inference_mode=False,
        enable_progress_bar=False,
    )
    if stage == "predict":
        trainer.predict(module, data)
        return {}
    logged = getattr(trainer, stage)(module, data, verbose=False)
    return {name: value for values in logged for name, value in values.items()}
