"""What all galleries share: panels are collected from the first batches of each data set, and written as
files and to the logger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_modules.capabilities import require


def contact_sheet(panels: list[np.ndarray], columns: int = 3) -> np.ndarray:
    """Panels of any size on one white sheet, row by row."""
    width, height = max(panel.shape[1] for panel in panels) + 8, max(panel.shape[0] for panel in panels) + 8
    rows = -(-len(panels) // columns)
    sheet = np.full((rows * height, min(columns, len(panels)) * width, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return sheet


class Gallery(pl.Callback):
    """Base of all galleries: writes ``<run>/<stage>/pictures/<dataset>.png``, a sheet of panels, and sends it
    to the logger.

    Args:
        count: panels of each data set; the first process draws them all.

    Attributes:
        capability: what the module must be able to do.
        batch_type: the batches that are drawn.
        columns: of the sheet.
        singles: whether each panel is also written as a file of its own, ``<dataset>-<nn>.png``.
    """

    capability: ClassVar[type]
    batch_type: ClassVar[type]
    columns: ClassVar[int] = 3
    singles: ClassVar[bool] = False

    def __init__(self, count: int) -> None:
        self.count = count

    def draw_batch(self, trainer: pl.Trainer, pl_module: Any, batch: Any, room: int) -> list[np.ndarray]:
        """At most ``room`` panels (H,W,3) uint8 RGB of a batch that is not empty."""
        raise NotImplementedError

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require(pl_module, self.capability, type(self).__name__)

    def _start(self, trainer: pl.Trainer) -> None:
        self.panels: dict[str, list[np.ndarray]] = {name: [] for name in trainer.datamodule.judged_sources()}  # type: ignore[attr-defined]

    def _draw(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, dataloader_idx: int
    ) -> None:
        panels = list(self.panels.values())[dataloader_idx]
        room = self.count - len(panels)
        if room > 0 and trainer.is_global_zero and isinstance(batch, self.batch_type) and len(batch):  # type: ignore[arg-type]
            panels += self.draw_batch(trainer, pl_module, batch, room)

    def _write(self, trainer: pl.Trainer, stage: str) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        folder = Path(trainer.default_root_dir) / stage / "pictures"
        for name, panels in self.panels.items():
            if not panels:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            sheet = contact_sheet(panels, self.columns)
            if self.singles:
                for number, panel in enumerate(panels):
                    cv2.imwrite(str(folder / f"{name}-{number:02d}.png"), panel[..., ::-1])
            cv2.imwrite(str(folder / f"{name}.png"), sheet[..., ::-1])
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key=f"{stage}/pictures/{name}", images=[sheet])
            if stage == "test":
                rank_zero_info(f"{len(panels)} pictures of {name} written to {folder}")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._draw(trainer, pl_module, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._draw(trainer, pl_module, batch, dataloader_idx)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, "test")
