"""A command whose configurations hold no model judges a run: the one that it names, or the newest."""

from __future__ import annotations

from pathlib import Path

import yaml

from commands.command_line import config_paths, option_value
from commands.runs import RunError, default_checkpoint, newest_run


def with_newest_run(argv: list[str]) -> list[str]:
    """Adds a run's config and best checkpoint to a command that brings no model of its own.

    What configurations it does name, such as those of ``configs/eval``, are laid over the run's.

    Args:
        argv: ``test``, ``validate`` or ``predict`` with their options; ``fit`` is left alone.

    Raises:
        RunError: there is no such run.
    """
    folder = judged_run(argv)
    if folder is None:
        return argv
    from lightning.pytorch.utilities.rank_zero import rank_zero_info  # here, since `judged_run` is instant

    added = ["--config", str(folder / "config.yaml")]
    if not option_value(argv, "--name"):
        added += ["--name", folder.relative_to(_runs(argv)).as_posix()]
    checkpoint = option_value(argv, "--ckpt_path")
    if not checkpoint:
        checkpoint = default_checkpoint(folder)
        added += ["--ckpt_path", checkpoint]
    rank_zero_info(f"judging the run {folder} ({checkpoint} checkpoint)")
    return [argv[0], *added, *argv[1:]]


def judged_run(argv: list[str]) -> Path | None:
    """The folder of the run that a command judges; None for a command that brings a model of its own.

    Raises:
        RunError: there is no such run.
    """
    if argv[0] == "fit" or _brings_a_model(argv):
        return None
    runs = _runs(argv)
    name = option_value(argv, "--name")
    folder = runs / name if name else newest_run(runs)
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no run; --name takes a folder below {runs}, or give a --config.")
    return folder


def _runs(argv: list[str]) -> Path:
    return Path(option_value(argv, "--runs") or "runs")


def _brings_a_model(argv: list[str]) -> bool:
    """Whether a command names a config with a model, or only wants to be told of its options."""
    if {"-h", "--help", "--print_config"} & set(argv):
        return True
    return any(_has_model(path) for path in config_paths(argv))


def _has_model(config: Path) -> bool:
    """Whether a configuration says what model it is for.

    Also true of one that cannot be read: the parser will say what is wrong with it.
    """
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return True
    return not isinstance(content, dict) or "model" in content
