"""Run folders.

``runs/<name>/`` holds ``config.yaml``, ``run.json``, ``checkpoints/{last,best}.ckpt``, ``test/metrics.json``
and pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from datamodules.storage.whole_files import write_whole
from lightning_modules.project_files import project_file


class RunError(Exception):
    """A run folder that does not hold what was asked for. The message is for the user."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run beside those of its trainer, model and data.

    Args:
        name: name of the run; by default that of the config file.
        runs: folder of all runs.
        monitor: logged number by which checkpoints/best.ckpt is kept (the highest).
        save_every: steps between two writes of checkpoints/last.ckpt; it is also written before each
            validation and at the end.
        upload_best: whether W&B is sent the best checkpoint, too, as an artifact.
    """

    name: str | None = None
    runs: str = "runs"
    monitor: str | None = None
    save_every: int = 1000
    upload_best: bool = False


def name_of(configs: Any) -> str:
    """The name of a run that was given none: that of its first config.

    ``configs/hist_albef.yaml`` -> ``hist_albef``; a run's own ``config.yaml`` -> that run's folder.
    """
    if not configs:
        return "unnamed"
    path = Path(str(configs[0]))
    return path.parent.name if path.name == "config.yaml" else path.stem


def run_folder(runs: Path, name: str) -> Path:
    """The folder of a run.

    Args:
        runs: folder of all runs.
        name: of the run: ``RUN`` or ``GROUP/RUN``.

    Raises:
        RunError: the run would not lie below ``runs``, or that is a file.

    Example:
        >>> run_folder(Path("runs"), "seeds/hist-0").as_posix()
        'runs/seeds/hist-0'
    """
    if runs.exists() and not runs.is_dir():
        raise RunError(f"--runs {runs} is a file; it takes a folder.")
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        folder = Path(os.path.normpath(runs / path))
        raise RunError(
            f"--name {name} is a path; a run has its name below --runs: --runs {folder.parent} --name "
            f"{folder.name}."
        )
    return runs / path


def claim(folder: Path, options: list[str]) -> None:
    """Notes in a run's folder what the run is made with: its options, and the config files that they name.

    Args:
        folder: of the run; made if it is not there.
        options: of its command.

    Raises:
        RunError: the folder holds a run that was made with others, whose results would pass for this one's.
    """
    made_with = {"options": options, "configurations": _digests(options)}
    path = folder / "made_with.json"
    if not path.is_file():
        write_whole(path, json.dumps(made_with, indent=1) + "\n")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before == made_with:
        return
    difference = "another version of its configuration"
    if before["options"] != options:
        difference = "other options"
    raise RunError(
        f"{folder} holds a run made with {difference} ({path} has them); name another folder with --runs, or "
        "remove that one."
    )


def _digests(options: list[str]) -> list[str]:
    """SHA-256 of every config file that a command names."""
    files = (project_file(value) for option, value in pairwise(options) if option == "--config")
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's ``metrics.json``.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(
            f"{path} is not readable as results ({error}); run `python cli.py test` again."
        ) from error


def _written(path: Path) -> float:
    return path.stat().st_mtime


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    return sorted((folder / "checkpoints").glob("*.ckpt"), key=_written, reverse=True)


def newest_run(runs: Path) -> Path:
    """The run that wrote a checkpoint last.

    Raises:
        RunError: there is none.
    """
    for path in sorted(runs.glob("**/checkpoints/*.ckpt"), key=_written, reverse=True):
        folder = path.parent.parent
        if (folder / "config.yaml").is_file():
            return folder
    raise RunError(
        f"there is no run with a checkpoint below {runs.absolute()}; train one with "
        "`python cli.py fit --config ...`, or name a --config."
    )


def find_checkpoint(folder: Path, name: str) -> Path:
    """A checkpoint of a run.

    Args:
        folder: of the run.
        name: ``best``, ``last`` or a file.

    Raises:
        RunError: it does not exist.
    """
    if name not in {"best", "last"}:
        return readable(checkpoint_file(name))
    path = folder / "checkpoints" / f"{name}.ckpt"
    if not path.is_file():
        present = ", ".join(checkpoint.name for checkpoint in checkpoints(folder)) or "none"
        raise RunError(
            f"{folder} has no {name} checkpoint (it has: {present}); --name chooses another run, --ckpt_path "
            "takes best, last or a file."
        )
    return readable(path)


def checkpoint_file(name: str) -> Path:
    """A checkpoint that is named by its path. Raises `RunError` if there is no such file."""
    if not Path(name).is_file():
        raise RunError(
            f"checkpoint {Path(name).absolute()} not found; --ckpt_path takes best, last or a file."
        )
    return Path(name)


def readable(path: Path) -> Path:
    """The path itself, if it is a checkpoint of this program; its tensors are not read.

    Raises:
        RunError: it is not, or it is damaged.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        raise RunError(
            f"{path} is damaged or no checkpoint of a run; --ckpt_path takes best, last or a file."
        ) from error
    if not isinstance(content, dict) or "pytorch-lightning_version" not in content:
        raise RunError(
            f"{path} is no checkpoint of a run; weights of another program are read by "
            f"--model.pretrained {path}."
        )
    return path


def default_checkpoint(folder: Path) -> str:
    """``best`` if the run kept one, else ``last``."""
    if (folder / "checkpoints" / "best.ckpt").is_file():
        return "best"
    return "last"
