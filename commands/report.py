"""Everything that was measured, read from the runs' ``metrics.json``: a table for each kind of evaluation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from callbacks.evaluations.results import format_estimate, format_rows
from commands.option_parser import option_parser
from commands.runs import RunError, read_metrics


class Row(NamedTuple):
    """A method on one data set under one protocol.

    Args:
        metrics: names of what was measured.
        method: ``model``, or a baseline.
        cells: of the printed line.
    """

    metrics: tuple[str, ...]
    method: str
    cells: list[str]


def rows_of(path: Path, runs: Path) -> list[Row]:
    """A row for each data set, protocol and method of one result file.

    Args:
        path: a ``metrics.json``.
        runs: folder of all runs.

    Raises:
        RunError: the file is damaged, or another program's.
    """
    content = read_metrics(path)
    if not isinstance(content, dict) or "results" not in content:
        raise RunError(f"{path} holds no results of a test.")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for result in content["results"]:
        key = (result["dataset"], result["protocol"], result["method"])
        groups.setdefault(key, []).append(result)
    run = str(path.parent)
    if path.is_relative_to(runs):
        run = path.parent.relative_to(runs).as_posix()
    rows = []
    for (dataset, protocol, method), results in groups.items():
        label = run.removesuffix("/test") if method == "model" else method
        estimates = [format_estimate(result["value"], result["low"], result["high"]) for result in results]
        samples = f"{max(result['n'] for result in results):,}"
        origin = [str(content.get("seed", "")), str(content.get("commit", ""))]
        cells = [label, f"{dataset} ({protocol})", *estimates, samples, *origin]
        rows.append(Row(tuple(result["metric"] for result in results), method, cells))
    return rows


def main(argv: list[str]) -> int:
    """Prints the tables as a command; returns the exit code."""
    parser = option_parser("report", __doc__)
    parser.add_argument("names", nargs="*", help="runs (folders below --runs); all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--baselines", action="store_true", help="also the rows of baselines")
    options = parser.parse_args(argv[1:])
    folders = [options.runs / name for name in options.names] or [options.runs]
    paths = sorted(path for folder in folders for path in folder.glob("**/metrics.json"))
    if not paths:
        places = ", ".join(str(folder) for folder in folders)
        print(f"error: no metrics.json below {places}; `python cli.py test` writes one.", file=sys.stderr)
        return 1
    return print_tables(paths, options.runs, options.baselines)


def print_tables(paths: list[Path], runs: Path, baselines: bool) -> int:
    """Prints a table for each kind of evaluation; a file that is damaged hides none of the others.

    Args:
        paths: the result files.
        runs: folder of all runs.
        baselines: whether baselines are shown beside models.

    Returns:
        1 if a file is damaged, else 0.
    """
    damaged = 0
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for path in paths:
        try:
            rows = rows_of(path, runs)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            damaged = 1
            continue
        for row in rows:
            if baselines or row.method == "model":
                tables.setdefault(row.metrics, []).append(row.cells)
    for metrics, lines in tables.items():
        columns = [f"{metric.replace('_', ' ')} %" for metric in metrics]
        print(f"\n{format_rows(['run', 'data (protocol)', *columns, 'n', 'seed', 'commit'], lines)}")
    return damaged
