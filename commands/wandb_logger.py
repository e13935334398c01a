"""Weights & Biases by default: online with an account, offline without one; a resumed run goes on under its own id."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info


def has_account() -> bool:
    """Whether W&B knows who we are: an API key in the environment or in its own settings."""
    import wandb

    return bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)


def run_id(folder: Path) -> str:
    """The run's W&B id, made once and kept in its folder."""
    path = folder / "wandb_id.txt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def wandb_logger(folder: Path, name: str) -> Any:
    """The logger of a run. ``WANDB_MODE`` (online, offline, disabled) overrules the choice."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    mode = os.environ.get("WANDB_MODE") or ("online" if has_account() else "offline")
    if mode == "offline":
        rank_zero_info(f"W&B: logging offline (no account, or WANDB_MODE=offline); `wandb sync {folder}/wandb/offline-run-*` uploads it later.")
    return WandbLogger(
        project="weakground",
        name=name,
        id=run_id(folder),
        save_dir=str(folder),
        resume="allow",
        mode=mode,
        log_model=False,
        settings=wandb.Settings(silent=True),
    )
