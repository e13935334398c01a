"""Everything that was measured, read from the runs' ``metrics.json`` files: a table for each kind of
evaluation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from callbacks.evaluations.results import format_estimate, format_rows
from commands.runs import RunError

GROUNDING = ("pointing_game", "box_accuracy", "mean_iou")


class Row(NamedTuple):
    """A method on one data set under one protocol, and the metrics that its cells hold."""

    metrics: tuple[str, ...]
    method: str
    cells: list[str]


def read_metrics(path: Path) -> dict[str, Any]:
    """A run's ``metrics.json``.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(
            f"{path} is not readable as results ({error}); run `python cli.py test` again."
        ) from error


def method_cells(
    content: dict[str, Any],
    method: str,
    dataset: str | None = None,
    protocol: str | None = None,
    metrics: tuple[str, ...] = GROUNDING,
) -> list[str]:
    """The metrics of a method with their intervals, and the sample count; of the first set and protocol by
    default.
    """
    of_method = [result for result in content["results"] if result["method"] == method]
    dataset, protocol = dataset or of_method[0]["dataset"], protocol or of_method[0]["protocol"]
    found = {
        result["metric"]: result
        for result in of_method
        if result["dataset"] == dataset and result["protocol"] == protocol
    }
    cells = [
        format_estimate(*(found[metric][key] for key in ("value", "low", "high"))) if metric in found else "-"
        for metric in metrics
    ]
    return [*cells, f"{max(result['n'] for result in found.values()):,}"]


def rows_of(path: Path, runs: Path) -> list[Row]:
    """A row for each data set, protocol and method of one result file."""
    content = read_metrics(path)
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for result in content["results"]:
        metrics.setdefault((result["dataset"], result["protocol"], result["method"]), []).append(
            result["metric"]
        )
    run = path.parent.relative_to(runs).as_posix() if path.is_relative_to(runs) else str(path.parent)
    rows = []
    for (dataset, protocol, method), names in metrics.items():
        label = run.removesuffix("/test") if method == "model" else method
        cells = method_cells(content, method, dataset, protocol, tuple(names))
        rows.append(
            Row(
                tuple(names),
                method,
                [
                    label,
                    f"{dataset} ({protocol})",
                    *cells,
                    str(content.get("seed", "")),
                    str(content.get("commit", "")),
                ],
            )
        )
    return rows


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cli.py report", description=__doc__)
    parser.add_argument("names", nargs="*", help="runs (folders below --runs); all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--baselines", action="store_true", help="also the rows of baselines")
    options = parser.parse_args(argv[1:])
    folders = [options.runs / name for name in options.names] or [options.runs]
    paths = sorted(path for folder in folders for path in folder.glob("**/metrics.json"))
    if not paths:
        print(
            f"error: no metrics.json below {', '.join(map(str, folders))}; `python cli.py test` writes one."
        )
        return 1
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for path in paths:
        for row in rows_of(path, options.runs):
            if options.baselines or row.method == "model":
                tables.setdefault(row.metrics, []).append(row.cells)
    for metrics, rows in tables.items():
        columns = [f"{metric.replace('_', ' ')} %" for metric in metrics]
        print(f"\n{format_rows(['run', 'data (protocol)', *columns, 'n', 'seed', 'commit'], rows)}")
    return 0
