"""How all checkpoints of a run are written: whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from datamodules.storage.whole_files import write_whole


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it there.

    Lightning's own way leads through the system's temporary folder, which may be small, or on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes ``checkpoint`` to ``path``.

        Raises:
            OSError: it cannot be written; an earlier checkpoint of that name stays as it is.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getbuffer())
