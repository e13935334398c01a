"""What evaluations and galleries share: they look at each batch of the sets that are judged."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl

from datamodules.handover import JudgedSet, Supply
from lightning_modules.capabilities import require
from lightning_modules.errors import ModelError


class SetCallback(pl.Callback):
    """Base of callbacks that look at the sets of one kind, in validation and test alike.

    Attributes:
        capability: what the module must be able to do (a protocol of `lightning_modules.capabilities`).
        batch_type: what the sets that are looked at give; others are left to other callbacks.
        supply: the data; set once by the command line, before anything runs.
        sets: the sets of the running stage, in the order of the dataloaders.
        batch_number: of the batch that is looked at, among those of its set on this process.
    """

    capability: ClassVar[type]
    batch_type: ClassVar[type]
    supply: Supply
    sets: list[JudgedSet]
    batch_number: int

    # What a subclass implements.

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Before the first batch; ``stage`` is ``val`` or ``test``."""
        raise NotImplementedError

    def see(self, trainer: pl.Trainer, pl_module: Any, batch: Any, judged: JudgedSet) -> None:
        """A batch of the right type, which is not empty, and the set that it comes from."""
        raise NotImplementedError

    def end(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """After the last batch, on all processes."""
        raise NotImplementedError

    # What the trainer calls.

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Checks that the module has the capability.

        Raises:
            ModelError: it has not, or nobody has said which data is judged.
        """
        name = type(self).__name__
        require(pl_module, self.capability, name)
        if not hasattr(self, "supply"):
            raise ModelError(
                f"{name} does not know which data it looks at: set its `supply` to the datamodule, "
                "as the command line does."
            )

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with stage ``val``."""
        self._begin(trainer, pl_module, "val")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Looks at a batch."""
        self.batch_number = batch_idx
        self._see(trainer, pl_module, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends stage ``val``."""
        self.end(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with stage ``test``."""
        self._begin(trainer, pl_module, "test")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Looks at a batch."""
        self.batch_number = batch_idx
        self._see(trainer, pl_module, batch, dataloader_idx)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends stage ``test``."""
        self.end(trainer, pl_module, "test")

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.sets = self.supply.judged_sets()
        self.begin(trainer, pl_module, stage)

    def _see(self, trainer: pl.Trainer, pl_module: Any, batch: Any, dataloader_idx: int) -> None:
        judged = self.sets[dataloader_idx]
        if judged.batch is self.batch_type and len(batch):
            self.see(trainer, pl_module, batch, judged)
