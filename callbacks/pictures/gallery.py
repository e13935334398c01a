"""What all galleries share: panels are collected from the first batches of each data set, and written as
files and to the logger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import lightning.pytorch as pl
import numpy as np
import torch.distributed
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from callbacks.base import SetCallback
from datamodules.handover import JudgedSet
from datamodules.storage.whole_files import write_whole

GAP = 8  # pixels between two panels


def contact_sheet(panels: list[np.ndarray], columns: int = 3) -> np.ndarray:
    """Panels of any size on one white sheet, row by row.

    Args:
        panels: (H,W,3) uint8 each, at least one.
        columns: panels in a row.

    Returns:
        (H,W,3) uint8.
    """
    width = max(panel.shape[1] for panel in panels) + GAP
    height = max(panel.shape[0] for panel in panels) + GAP
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        top = row * height
        left = column * width
        sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return sheet


class Panel(NamedTuple):
    """A picture of a sample, and where that stands: with its batch and its process, in the whole set.

    Args:
        batch: number of the batch on its process.
        sample: number of the sample (an image, a caption) in its batch.
        process: number of the process.
        picture: (H,W,3) uint8 RGB.
    """

    batch: int
    sample: int
    process: int
    picture: np.ndarray


def gather(trainer: pl.Trainer, panels: dict[str, list[Panel]]) -> dict[str, list[Panel]]:
    """The panels of all processes on the first one, in the order in which one process would draw them.

    Args:
        trainer: of the processes.
        panels: of this process, by data set.

    Returns:
        Those of all processes; on others than the first, those of this one.
    """
    parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(panels, parts)
    if parts is None:
        return panels
    merged = {}
    for name in panels:
        all_panels = [panel for part in parts for panel in part[name]]
        merged[name] = sorted(all_panels, key=lambda panel: (panel.batch, panel.sample, panel.process))
    return merged


class Gallery(SetCallback):
    """Base of all galleries: writes ``<run>/<stage>/pictures/<dataset>.png``, a sheet of panels, and sends it
    to the logger. Samples go to processes in turn, and so do their panels: N processes show what one does.

    Args:
        count: panels of each data set.

    Attributes:
        columns: of the sheet.
        singles: whether each panel is also written as a file of its own, ``<dataset>-<nn>.png``.
    """

    columns: ClassVar[int] = 3
    singles: ClassVar[bool] = False

    def __init__(self, count: int) -> None:
        self.count = count

    # What a gallery implements.

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, judged: JudgedSet, space: int
    ) -> list[tuple[int, np.ndarray]]:
        """Draws the first samples of a batch that is not empty.

        Args:
            trainer: for its precision.
            pl_module: a module with the capability.
            batch: of the gallery's type.
            judged: the set that it comes from.
            space: how many panels are still wanted of this set, at least one.

        Returns:
            At most ``space`` panels, each with the number of its sample in the batch and its picture,
            (H,W,3) uint8 RGB.
        """
        raise NotImplementedError

    # What the trainer calls.

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Starts an empty sheet for each set."""
        self.panels: dict[str, list[Panel]] = {judged.name: [] for judged in self.sets}

    def see(self, trainer: pl.Trainer, pl_module: Any, batch: Any, judged: JudgedSet) -> None:
        """Draws while there is space."""
        panels = self.panels[judged.name]
        space = self.count - len(panels)
        if space > 0:
            for sample, picture in self.draw_batch(trainer, pl_module, batch, judged, space):
                panels.append(Panel(self.batch_number, sample, trainer.global_rank, picture))

    def end(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Writes the sheets."""
        panels_of_set = self.panels if trainer.world_size == 1 else gather(trainer, self.panels)
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        folder = Path(trainer.default_root_dir) / stage / "pictures"
        for name, panels in panels_of_set.items():
            if panels:
                pictures = [panel.picture for panel in panels[: self.count]]
                self._write(trainer, folder, name, pictures, stage)

    def _write(
        self, trainer: pl.Trainer, folder: Path, name: str, panels: list[np.ndarray], stage: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.singles:
            for number, panel in enumerate(panels):
                write_picture(folder / f"{name}-{number:02d}.png", panel)
        sheet = contact_sheet(panels, self.columns)
        write_picture(folder / f"{name}.png", sheet)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key=f"{stage}/pictures/{name}", images=[sheet])
        if stage == "test":
            rank_zero_info(f"{len(panels)} pictures of {name} written to {folder}")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes (H,W,3) uint8 RGB as PNG; raises `OSError` if it cannot (OpenCV itself would say nothing)."""
    _, content = cv2.imencode(".png", picture[..., ::-1])
    write_whole(path, content.tobytes())
