"""How all checkpoints of a run are written: whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from datamodules.storage.whole_files import whole_file


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and renames it when all of it is on disk.

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
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)
