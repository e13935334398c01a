"""Weights & Biases by default: online with an account, offline without one.

A resumed run goes on under its own id.
"""

from __future__ import annotations

import os
import uuid
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.utilities.rank_zero import rank_zero_info


def has_account() -> bool:
    """Whether an API key is in the environment, or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc(os.environ.get("NETRC")).authenticators(str(host)) is not None
    except (OSError, NetrcParseError):
        return False


def run_id(folder: Path) -> str:
    """The run's W&B id, made once and kept in its folder."""
    path = folder / "wandb_id.txt"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def wandb_logger(folder: Path, name: str) -> Any:
    """The logger of a run.

    Args:
        folder: of the run.
        name: of the run, as W&B shows it.

    Returns:
        A ``WandbLogger``, online if there is an account. ``WANDB_MODE`` (online, offline, disabled) overrules
        that choice.
    """
    # Before its first import. The one line below says what matters.
    os.environ.setdefault("WANDB_SILENT", "true")
    from lightning.pytorch.loggers import WandbLogger

    mode = os.environ.get("WANDB_MODE")
    if not mode:
        mode = "online" if has_account() else "offline"
    if mode == "offline":
        rank_zero_info(
            "W&B: logging offline (no account, or WANDB_MODE=offline); "
            f"`wandb sync {folder}/wandb/offline-run-*` uploads it later."
        )
    return WandbLogger(
        project="weakground",
        name=name,
        id=run_id(folder),
        save_dir=str(folder),
        resume="allow",
        mode=mode,
        log_model=False,
    )
