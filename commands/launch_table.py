"""The runs of a table of configs/ablation as jobs for a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.ablation import options_parser
from commands.runs import RunError, claim
from commands.sbatch import Commands
from commands.tables import Row, Table, arguments, read_table


def table_jobs(command: list[str], dry: bool) -> tuple[str, list[list[Commands]]]:
    """The jobs of ``ablation FILE ...``.

    Args:
        command: ``ablation`` with its options.
        dry: whether the runs are only looked at, and not claimed.

    Returns:
        The table's name; arrays of jobs, each of which needs what the one before it has trained.

    Raises:
        RunError: the table, or a run's folder, cannot be used, or all is done.
    """
    options, extra = options_parser().parse_known_args(command[1:])
    options.dry = options.dry or dry
    table = read_table(options.table)
    scale = options.scale or table.scales[0]
    rows = table.chosen(options.only, scale)
    arrays: dict[int, list[Commands]] = {}
    for row in table.before(rows, scale):
        for seed in options.seeds:
            job = _job(table, row, scale, seed, options, extra)
            if job:
                arrays.setdefault(_level(table, row), []).append(job)
    if not arrays:
        raise RunError("all runs of this table are done; `python cli.py ablation` prints it.")
    return table.name, [arrays[level] for level in sorted(arrays)]


def _job(
    table: Table, row: Row, scale: str, seed: int, options: argparse.Namespace, extra: list[str]
) -> Commands:
    """What trains and judges a row; nothing if that is done."""
    folder: Path = options.runs / table.run_name(row, scale, seed)
    words = [*arguments(table, row, scale, seed, options.runs), *extra]
    judged = row in table.rows
    if (folder / "test" / "metrics.json").is_file() or (folder / "finished").is_file():
        return []
    if not options.dry:
        claim(folder, words)
    if not row.trained:
        return [["test", *words]]
    fit = ["fit", *words, "--ckpt_path", "auto"]
    return [fit, ["test", *words, "--ckpt_path", "last"]] if judged else [fit]


def _level(table: Table, row: Row) -> int:
    """How many trainings stand before a row's own."""
    by_name = {start.name: start for start in (*table.stages, *table.rows)}
    return max((1 + _level(table, by_name[start]) for start in row.weights.values()), default=0)
