"""Run folders: ``runs/<name>/`` holds ``config.yaml``, ``run.json``, ``checkpoints/{last,best}.ckpt``,
``test/metrics.json`` and pictures.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path


class RunError(Exception):
    """A run folder that does not hold what was asked for. The message is for the user."""


def claim(folder: Path, options: list[str]) -> None:
    """Keeps in ``folder`` the options, and the files of configuration named in them, that its run is made
    with.

    Raises:
        RunError: the folder holds a run that was made with others, whose results would pass for theirs.
    """
    files = (Path(value) for option, value in pairwise(options) if option == "--config")
    made_with = {
        "options": options,
        "configurations": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()],
    }
    path = folder / "made_with.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")
    elif (before := json.loads(path.read_text(encoding="utf-8"))) != made_with:
        other = "other options" if before["options"] != options else "another version of its configuration"
        raise RunError(
            f"{folder} holds a run made with {other} ({path} has them); name another folder with --runs, or remove that one."
        )


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first."""
    return sorted(
        (folder / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True
    )


def newest_run(runs: Path) -> Path:
    """The run that wrote a checkpoint last.

    Raises:
        RunError: there is none.
    """
    written = sorted(runs.glob("**/checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)
    folders = [
        path.parent.parent for path in reversed(written) if (path.parent.parent / "config.yaml").is_file()
    ]
    if not folders:
        raise RunError(
            f"there is no run with a checkpoint below {runs.absolute()}; train one with `python cli.py fit --config ...`, or name a --config."
        )
    return folders[0]


def find_checkpoint(folder: Path, wanted: str) -> Path:
    """``best``, ``last`` or a file.

    Raises:
        RunError: it does not exist.
    """
    if wanted not in {"best", "last"}:
        if not Path(wanted).is_file():
            raise RunError(
                f"checkpoint {Path(wanted).absolute()} not found; --ckpt_path takes best, last or a file."
            )
        return readable(Path(wanted))
    path = folder / "checkpoints" / f"{wanted}.ckpt"
    if not path.is_file():
        there = ", ".join(found.name for found in checkpoints(folder)) or "none"
        raise RunError(
            f"{folder} has no {wanted} checkpoint (it has: {there}); --name chooses another run, --ckpt_path takes best, last or a file."
        )
    return readable(path)


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
            f"{path} is no checkpoint of a run; weights of another program are read by --model.pretrained {path}."
        )
    return path


def default_checkpoint(folder: Path) -> str:
    """``best`` if the run kept one, else ``last``."""
    return "best" if (folder / "checkpoints" / "best.ckpt").is_file() else "last"
