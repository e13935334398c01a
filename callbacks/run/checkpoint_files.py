"""How checkpoints are written: beside their place, then renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint to ``<name>.partial`` in the same folder, and renames it when all of it is on disk.

    Whatever ends a save in its midst, the earlier checkpoint stays. Lightning's own way passes through the
    system's temporary folder, which may be small, and holds the whole file in memory once more.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: what it holds.
            path: where to; its folder is made.
            storage_options: not used.

        Raises:
            OSError: there is no room, or no right to write; nothing half-made is left.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
