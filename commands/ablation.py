"""Runs every row of a table of configs/ablation, and prints what was measured beside what the paper reports.

A table is a YAML file: `config` (what every row starts from, or one for each scale), `columns` (title:
dataset/protocol/metric), `stages` (runs that come first, for rows to start from), `baselines` (methods that
need no training), and `rows`, each with a `name`, `options` of its own, `weights` (option: stage or earlier
row), `trained: false` if it is only judged, `scales` if it is not run at all of them, `curve` and `at` if it
is a point of a curve to be drawn, and the `paper`'s numbers. Every run is an ordinary command, printed before
it starts; one that is done already, with the same options, is not done again. Where data or weights are
missing, a row says so, and the others go on. Further options are given to every run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from callbacks.evaluations.results import format_estimate, format_rows
from commands.curves import draw_curves
from commands.ending import CONTINUED, STOPPED
from commands.option_parser import option_parser
from commands.quick_imports import quick_imports
from commands.runs import RunError, claim, read_metrics
from commands.tables import Row, Table, arguments, read_table

Result = dict[str, Any]  # an entry of metrics.json


def run_row(row: Row, words: list[str], folder: Path, judged: bool, train: Callable[[list[str]], int]) -> int:
    """Trains and judges a row, as far as that is not done.

    Args:
        row: the row or stage.
        words: the options of its commands.
        folder: of its run.
        judged: whether it is judged after its training.
        train: starts one command, and returns its exit code.

    Returns:
        The exit code of the command that failed, or 0.
    """
    done = folder / "test" / "metrics.json" if judged else folder / "finished"
    if done.is_file():
        print(f"\n== {row.name}: done before, in {folder}", flush=True)
        return 0
    for command in commands_of(row, words, folder, judged):
        print(f"\n== {row.name}\n$ python cli.py {' '.join(command)}", flush=True)
        code = train(command)
        if code:
            return code
    if not judged:
        done.touch()
    return 0


def commands_of(row: Row, words: list[str], folder: Path, judged: bool) -> list[list[str]]:
    """The commands of a row: one that trains it, or goes on with its training, and one that judges it."""
    if not row.trained:
        return [["test", *words]]
    last = ["--ckpt_path", "last"]
    fit = ["fit", *words]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        fit += last
    if not judged:
        return [fit]
    return [fit, ["test", *words, *last]]


def find_result(content: dict[str, Any], path: str, method: str) -> Result | None:
    """A method's result in a run's metrics.

    Args:
        content: of ``metrics.json``.
        path: ``dataset/protocol/metric``.
        method: ``model``, or a baseline.

    Returns:
        The result; None if it was not measured.
    """
    for result in content["results"]:
        place = f"{result['dataset']}/{result['protocol']}/{result['metric']}"
        if place == path and result["method"] == method:
            return result
    return None


def estimate_cell(results: Iterable[Result | None], paper: float | None) -> str:
    """One seed's number with its interval, or the mean of several with their standard deviation.

    Args:
        results: of each seed.
        paper: the paper's number, which is put in brackets behind it.
    """
    measured = [result for result in results if result is not None and result["value"] is not None]
    if not measured:
        text = "-"
    elif len(measured) == 1:
        text = format_estimate(measured[0]["value"], measured[0]["low"], measured[0]["high"])
    else:
        values = [100 * result["value"] for result in measured]
        text = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    return text if paper is None else f"{text} ({paper:.2f})"


def cell(contents: Sequence[dict[str, Any]], path: str | None, method: str, paper: float | None) -> str:
    """A cell of the table.

    Args:
        contents: the metrics of each seed's run.
        path: of the column, see `Table`.
        method: ``model``, or a baseline.
        paper: the paper's number.
    """
    if path is None:
        return "-" if paper is None else str(paper)
    if "/" not in path:
        value = contents[0].get(path) if method == "model" else None
        return f"{value:,}" if value else ""
    results = [find_result(content, path.removesuffix("/n"), method) for content in contents]
    if path.endswith("/n"):
        return f"{results[0]['n']:,}" if results[0] else "-"
    return estimate_cell(results, paper)


def format_table(table: Table, rows: Sequence[Row], scale: str, seeds: Sequence[int], runs: Path) -> str:
    """The baselines, then a line for each row; the paper's numbers in brackets or in columns of their own."""

    def metrics_of(row: Row) -> list[dict[str, Any]]:
        folders = [runs / table.run_name(row, scale, seed) for seed in seeds]
        return [read_metrics(folder / "test" / "metrics.json") for folder in folders]

    lines = []
    first = metrics_of(rows[0])
    for baseline in table.baselines:
        lines.append([baseline, *(cell(first, path, baseline, None) for path in table.columns.values())])
    for row in rows:
        contents = metrics_of(row)
        cells = [cell(contents, path, "model", row.paper.get(title)) for title, path in table.columns.items()]
        lines.append([row.name, *cells])
    spread = "95 % interval" if len(seeds) == 1 else f"mean ± standard deviation of {len(seeds)} seeds"
    in_brackets = any(table.columns[title] for row in rows for title in row.paper)
    header = f"{table.name}, {scale} scale, in %: {spread}{' (paper)' if in_brackets else ''}"
    return format_rows([header, *table.columns], lines)


def gallery(table: Table, folder: Path) -> Path | None:
    """The pictures that a run's test left, if it draws any."""
    for path in table.columns.values():
        if path and "/" in path:
            pictures = folder / "test" / "pictures" / f"{path.split('/')[0]}.png"
            return pictures if pictures.is_file() else None
    return None


def options_parser(name: str = "ablation", description: str | None = __doc__) -> argparse.ArgumentParser:
    """The options of a command that runs a table; what it does not know is given to every run."""
    parser = option_parser(name, description)
    parser.add_argument("table", type=Path, help="a file of configs/ablation")
    parser.add_argument("--scale", help="one of the table's scales, e.g. paper or demo; by default its first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="only rows whose name contains one of these"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--dry", action="store_true", help="print the commands, run nothing")
    return parser


def main(argv: list[str]) -> int:
    """Runs a table as a command; returns the exit code."""
    options, extra = options_parser().parse_known_args(argv[1:])
    try:
        return run_table(options, extra)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run_table(options: argparse.Namespace, extra: list[str]) -> int:
    """Runs the chosen rows and what they start from, and prints the table.

    Args:
        options: see `main`.
        extra: options for every run.

    Raises:
        RunError: the table or a run's folder cannot be used.
    """
    started = time.monotonic()
    table = read_table(options.table)
    scale = options.scale or table.scales[0]
    rows = table.chosen(options.only, scale)
    code, failed = run_rows(table, rows, options, extra)
    if code:
        print("\nnot done; the same command goes on from here.")
        return code
    if not options.dry:
        measured = [row for row in rows if row.name not in failed]
        if not measured:
            raise RunError("no row was measured; what is printed above says why.")
        print(f"\n{format_table(table, measured, scale, options.seeds, options.runs)}\n")
        figure = draw_curves(table, measured, scale, options.seeds, options.runs)
        if figure:
            print(f"Curves: {figure}")
        last_run = options.runs / table.run_name(measured[-1], scale, options.seeds[-1])
        pictures = gallery(table, last_run)
        if pictures:
            print(f"Pictures of what the last row's model found: {pictures}")
        for name in failed:
            print(f"not measured: {name}; what is printed above says why.")
        print(f"{time.monotonic() - started:.0f} seconds in all.")
    return 1 if failed else 0


def run_rows(
    table: Table, rows: Sequence[Row], options: argparse.Namespace, extra: list[str]
) -> tuple[int, list[str]]:
    """Runs some rows and what they start from, or prints their commands with ``--dry``.

    A row that cannot be run, or that starts from one that cannot, is left out.

    Args:
        table: that they are in.
        rows: to be run.
        options: see `main`.
        extra: options for every run.

    Returns:
        The exit code of a run that a signal has stopped, or 0; and the names of the stages and rows that were
        not run with every seed.

    Raises:
        RunError: a run's folder cannot be used.
    """
    scale = options.scale or table.scales[0]
    failed: dict[str, None] = {}  # in order
    for seed in options.seeds:
        for row in table.before(rows, scale):
            folder = options.runs / table.run_name(row, scale, seed)
            words = [*arguments(table, row, scale, seed, options.runs), *extra]
            judged = row in table.rows
            if options.dry:
                for command in commands_of(row, words, folder, judged):
                    print(f"$ python cli.py {' '.join(command)}")
                continue
            if failed.keys() & set(row.weights.values()):
                failed[row.name] = None
                continue
            claim(folder, words)
            code = run_row(row, words, folder, judged, _train)
            if code in {STOPPED, CONTINUED}:
                return code, list(failed)
            if code:
                failed[row.name] = None
    return 0, list(failed)


def _train(command: list[str]) -> int:
    with quick_imports():  # here, so that --help is instant
        from commands.trainer import main as train

    return train(command)
