"""A command that names no configuration judges the newest run."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from commands.command_line import option_value
from commands.runs import RunError, default_checkpoint, newest_run


def with_newest_run(argv: list[str]) -> list[str]:
    """Adds the newest run's config and best checkpoint to a command that names no config.

    Args:
        argv: ``test``, ``validate`` or ``predict`` with their options; ``fit`` is left alone.

    Raises:
        RunError: there is no such run.
    """
    if argv[0] == "fit" or _names_a_config(argv):
        return argv
    runs = Path(option_value(argv, "--runs") or "runs")
    name = option_value(argv, "--name")
    folder = runs / name if name else newest_run(runs)
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} holds no run; --name takes a folder below {runs}, or give a --config.")
    added = ["--config", str(folder / "config.yaml")]
    if not name:
        added += ["--name", folder.relative_to(runs).as_posix()]
    checkpoint = option_value(argv, "--ckpt_path")
    if not checkpoint:
        checkpoint = default_checkpoint(folder)
        added += ["--ckpt_path", checkpoint]
    rank_zero_info(f"judging the run {folder} ({checkpoint} checkpoint)")
    return [argv[0], *added, *argv[1:]]


def _names_a_config(argv: list[str]) -> bool:
    """Whether a command names a config, or only wants to be told of its options."""
    for argument in argv:
        if argument in {"-h", "--help", "--print_config"} or argument.split("=")[0] in {"--config", "-c"}:
            return True
    return False
