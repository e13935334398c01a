"""What a run was: its configuration, seed, commit and package versions, kept in its folder."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from datamodules.storage.whole_files import write_whole

PACKAGES = (
    "weakground",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "numpy",
    "opencv-python-headless",
    "tokenizers",
    "wandb",
)


def git_commit() -> str | None:
    """The checked-out commit, with ``+`` if files differ from it; None outside a clone of the project.

    The package may be installed in a folder that belongs to another project's repository.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changes = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changes else commit


def package_versions() -> dict[str, str]:
    """The versions of Python and of those of `PACKAGES` that are installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def device_name(device: torch.device) -> str:
    """What a device is called: the model of a GPU; for a CPU its architecture and the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def provenance(trainer: pl.Trainer, pl_module: pl.LightningModule, config: str, seed: int) -> dict[str, Any]:
    """Everything beside the data that a result depends on.

    Args:
        trainer: of the run.
        pl_module: the module, for its device.
        config: the complete configuration as YAML.
        seed: of the run.

    Returns:
        Plain values by name, as they go into JSON.
    """
    return {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "commit": git_commit(),
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "device": device_name(pl_module.device),
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
        "packages": package_versions(),
    }


class RunRecord(pl.Callback):
    """Writes ``config.yaml`` and ``run.json`` (a list, one entry for each start) when a fit begins, and moves
    earlier results of another stage aside, so that they are not overwritten.

    Args:
        config: the complete configuration as YAML.
        seed: of the run.
    """

    def __init__(self, config: str, seed: int) -> None:
        self.config = config
        self.seed = seed

    def provenance(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Everything beside the data that a result of this run depends on."""
        return provenance(trainer, pl_module, self.config, self.seed)

    @rank_zero_only
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes the record of a fit, or moves earlier results of the stage aside."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if stage == "fit":
            write_whole(folder / "config.yaml", self.config)
            for logger in trainer.loggers:
                logger.log_hyperparams(yaml.safe_load(self.config))
            path = folder / "run.json"
            starts = [*earlier_starts(path), self.provenance(trainer, pl_module)]
            write_whole(path, json.dumps(starts, indent=2))
        else:
            # Lightning passes an enumeration, whose text is "TrainerFn.TESTING".
            keep_earlier(folder / TrainerFn(stage).value)


def earlier_starts(path: Path) -> list[Any]:
    """The entries of a ``run.json``; none, and a warning, where the file is damaged.

    The checkpoint beside it does not depend on it.
    """
    if not path.is_file():
        return []
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        starts = None
    if isinstance(starts, list):
        return starts
    rank_zero_warn(f"{path} is damaged; it begins anew, without the earlier starts of this run.")
    return []


def keep_earlier(folder: Path) -> None:
    """Renames a folder, if it exists, to the first free of ``<folder>-1``, ``<folder>-2`` and so on."""
    if folder.exists():
        number = 1
        while folder.with_name(f"{folder.name}-{number}").exists():
            number += 1
        folder.rename(folder.with_name(f"{folder.name}-{number}"))
