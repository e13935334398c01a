"""The account at Weights & Biases, and what it is told of a run."""

from __future__ import annotations

import os
import uuid
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

PROJECT = "weakground"
STEP = "trainer/global_step"  # the axis of all charts, as of Lightning's logger


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
    if not path.is_file() or not path.read_text().strip():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def run_options(folder: Path, name: str) -> dict[str, Any]:
    """What W&B is told of a run when it begins, goes on, or is uploaded.

    Args:
        folder: of the run.
        name: of the run below the folder of all runs: ``GROUP/RUN``, or ``RUN`` alone.
    """
    group, _, _ = name.rpartition("/")
    options: dict[str, Any] = {"project": PROJECT, "name": name, "id": run_id(folder), "dir": str(folder)}
    options["resume"] = "allow"
    # W&B reads its own variables only where nothing is given.
    if group and "WANDB_RUN_GROUP" not in os.environ:
        options["group"] = group
    if "WANDB_JOB_TYPE" not in os.environ:
        options["job_type"] = "run"
    return options
