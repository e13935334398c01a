"""Everything that was measured, read from the runs' results: a table for each kind of evaluation.

`--where 'box_area < .05'` makes the numbers of phrase grounding again from the decisions on those queries
alone; `--compare A B` says how much better run B is than run A on the same queries, with an interval by a
bootstrap over images and, beside it, the one that takes queries as independent.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from callbacks.evaluations.results import format_estimate, format_rows
from commands.option_parser import option_parser
from commands.runs import RunError, read_metrics

FORMATS = ("text", "md", "csv")


@dataclass(frozen=True)
class Row:
    """A method on one data set under one protocol.

    Args:
        run: its name, or that of the baseline.
        place: the data set and the protocol.
        is_model: whether it is the run's model, and no baseline.
        values: the metrics: value, low, high and number of samples by their names, in their order.
        seed: of the run.
        commit: of the code.
    """

    run: str
    place: str
    is_model: bool
    values: dict[str, tuple[float | None, float | None, float | None, int]]
    seed: str
    commit: str

    def cells(self) -> list[str]:
        """The printed line."""
        estimates = [format_estimate(value, low, high) for value, low, high, _ in self.values.values()]
        samples = max(samples for *_, samples in self.values.values())
        return [self.run, self.place, *estimates, f"{samples:,}", self.seed, self.commit]


def rows_of(path: Path, runs: Path, where: str = "") -> list[Row]:
    """A row for each data set, protocol and method of one run.

    Args:
        path: a ``metrics.json``.
        runs: folder of all runs.
        where: a condition on queries, see `commands.decisions.condition`; empty for all.

    Raises:
        RunError: a file is damaged, missing, or another program's.
    """
    content = read_metrics(path)
    if not isinstance(content, dict) or "results" not in content:
        raise RunError(f"{path} holds no results of a test.")
    run = str(path.parent)
    if path.is_relative_to(runs):
        run = path.parent.relative_to(runs).as_posix()
    run = run.removesuffix("/test")
    groups: dict[tuple[str, str, str], dict[str, tuple]] = {}
    if where:
        from commands.decisions import read_decisions

        for group in read_decisions(path.with_name("decisions.parquet"), where):
            estimates = group.estimates().items()
            values = {metric: (e.value, e.low, e.high, e.n) for metric, e in estimates}
            groups[group.dataset, group.protocol, group.method] = values
    else:
        for result in content["results"]:
            key = (result["dataset"], result["protocol"], result["method"])
            values = groups.setdefault(key, {})
            values[result["metric"]] = (result["value"], result["low"], result["high"], result["n"])
    return [
        Row(
            run if method == "model" else method,
            f"{dataset} ({protocol})",
            method == "model",
            values,
            str(content.get("seed", "")),
            str(content.get("commit") or ""),
        )
        for (dataset, protocol, method), values in groups.items()
    ]


def options_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = option_parser("report", __doc__)
    parser.add_argument("names", nargs="*", help="runs (folders below --runs); all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--baselines", action="store_true", help="also the rows of baselines")
    parser.add_argument("--where", default="", metavar="CONDITION", help="e.g. 'box_area < .05'")
    parser.add_argument("--sort", metavar="METRIC", help="the best first, e.g. pointing_game")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two runs, on the same queries")
    parser.add_argument("--format", choices=FORMATS, default="text")
    return parser


def main(argv: list[str]) -> int:
    """Prints the tables as a command; returns the exit code."""
    options = options_parser().parse_args(argv[1:])
    if options.compare:
        try:
            first, second = options.compare
            print_comparison(options.runs, first, second, options.where, options.format)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0
    folders = [options.runs / name for name in options.names] or [options.runs]
    paths = sorted(path for folder in folders for path in folder.glob("**/metrics.json"))
    if not paths:
        places = ", ".join(str(folder) for folder in folders)
        print(f"error: no metrics.json below {places}; `python cli.py test` writes one.", file=sys.stderr)
        return 1
    return print_tables(paths, options)


def print_tables(paths: list[Path], options: argparse.Namespace) -> int:
    """Prints a table for each kind of evaluation; a file that is damaged hides none of the others.

    Args:
        paths: the result files.
        options: of the command.

    Returns:
        1 if a file is damaged, else 0.
    """
    damaged = 0
    tables: dict[tuple[str, ...], list[Row]] = {}
    for path in paths:
        try:
            rows = rows_of(path, options.runs, options.where)
        except RunError as error:
            print(f"error: {error}", file=sys.stderr)
            damaged = 1
            continue
        for row in rows:
            if options.baselines or row.is_model:
                tables.setdefault(tuple(row.values), []).append(row)
    for metrics, rows in tables.items():
        if options.sort in metrics:
            rows.sort(key=lambda row: row.values[options.sort][0] or 0.0, reverse=True)
        columns = [f"{metric.replace('_', ' ')} %" for metric in metrics]
        header = ["run", "data (protocol)", *columns, "n", "seed", "commit"]
        print_table(header, [row.cells() for row in rows], options.format)
    return damaged


def print_comparison(runs: Path, first: str, second: str, where: str, form: str) -> None:
    """Prints how much better the second run is, with both intervals.

    Args:
        runs: folder of all runs.
        first, second: names of runs.
        where: a condition on queries; empty for all.
        form: one of `FORMATS`.

    Raises:
        RunError: a run has no decisions, or they have none in common.
    """
    from commands.decisions import compare, read_decisions

    groups, other_groups = (
        read_decisions(runs / name / "test" / "decisions.parquet", where) for name in (first, second)
    )
    lines = []
    for dataset, protocol, metric, paired in compare(groups, other_groups):
        lines.append(
            [
                f"{dataset} ({protocol})",
                metric.replace("_", " "),
                f"{100 * paired.value:+.1f} [{100 * paired.low:.1f}, {100 * paired.high:.1f}]",
                f"[{100 * paired.naive_low:.1f}, {100 * paired.naive_high:.1f}]",
                f"{paired.queries:,}",
                f"{paired.images:,}",
            ]
        )
    title = f"{second} less {first}"
    header = ["data (protocol)", "metric", f"{title}, points", "queries as independent", "queries", "images"]
    print_table(header, lines, form)


def print_table(header: Sequence[str], lines: Sequence[Sequence[str]], form: str) -> None:
    """Prints a table in one of `FORMATS`."""
    if form == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([header, *lines])
    elif form == "md":
        print("\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *lines]))
    else:
        print(f"\n{format_rows(header, lines)}")
