"""A leaderboard: runs every row of a table, and writes one page that compares them.

The table is a file of configs/leaderboards, of the same form as those of configs/ablation (`python cli.py
ablation --help`); a row may say what it is `about`. Each data set has a part of its own for each protocol,
with the numbers and their intervals, the difference to the row that a row starts from on the same queries
(paired bootstrap over images), and pictures of what was found. A row that cannot be run says so, and the
others go on.

Written are index.html (one file, no network), leaderboard.csv and leaderboard.md.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.ablation import options_parser, run_rows
from commands.ending import CONTINUED, STOPPED
from commands.runs import RunError, read_metrics
from commands.tables import Row, Table, read_table


@dataclass(frozen=True)
class Number:
    """A measured number, in per cent.

    Args:
        value: the number.
        low, high: its 95 % interval, where it has one.
        samples: how many queries it stands on.
    """

    value: float
    low: float | None
    high: float | None
    samples: int

    @property
    def interval(self) -> str:
        """The interval in brackets, with a blank before it; empty if there is none."""
        if self.low is None or self.high is None:
            return ""
        return f" [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Entry:
    """A method on one data set under one protocol.

    Args:
        name: of the row, or of a baseline.
        about: what it is.
        numbers: by the metric's name; empty if it was not measured.
        gains: over the row that it starts from, in points, by the metric's name.
        seed, commit: of the run.
        pictures: a picture file of what it found, if there is one.
    """

    name: str
    about: str = ""
    numbers: dict[str, Number] = field(default_factory=dict)
    gains: dict[str, Number] = field(default_factory=dict)
    seed: str = ""
    commit: str = ""
    pictures: Path | None = None


@dataclass(frozen=True)
class Board:
    """A data set under one protocol.

    Args:
        dataset, protocol: which they are.
        rules: what the protocol means, field by field.
        entries: the baselines, then the rows in their order.
    """

    dataset: str
    protocol: str
    rules: dict[str, Any]
    entries: list[Entry]

    @property
    def metrics(self) -> list[str]:
        """All that was measured."""
        return list(dict.fromkeys(metric for entry in self.entries for metric in entry.numbers))


def boards(table: Table, rows: Sequence[Row], scale: str, seed: int, runs: Path) -> list[Board]:
    """What the runs of a table have measured.

    Args:
        table: the table.
        rows: its rows.
        scale: at which they were run.
        seed: of the runs.
        runs: folder of all runs.
    """
    contents: dict[str, dict[str, Any]] = {}
    for row in rows:
        path = runs / table.run_name(row, scale, seed) / "test" / "metrics.json"
        if path.is_file():
            contents[row.name] = read_metrics(path)
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for content in contents.values():
        for result in content["results"]:
            rules = content["protocols"].get(result["protocol"], {})
            places.setdefault((result["dataset"], result["protocol"]), rules)
    made = []
    for (dataset, protocol), rules in places.items():
        entries = _baselines(contents.values(), dataset, protocol)
        by_name = {row.name: row for row in rows}
        for row in rows:
            folder = runs / table.run_name(row, scale, seed)
            content = contents.get(row.name, {"results": []})
            numbers = _numbers(content, dataset, protocol, "model")
            if content["results"] and not numbers:
                continue  # it is judged on other sets
            gains = {}
            start = by_name.get(next(reversed(row.weights.values()), ""))
            if numbers and start is not None:
                gains = _gains(runs / table.run_name(start, scale, seed), folder, dataset, protocol)
            pictures = folder / "test" / "pictures" / f"{dataset}.png"
            entries.append(
                Entry(
                    row.name,
                    row.about,
                    numbers,
                    gains,
                    str(content.get("seed", "")),
                    str(content.get("commit") or ""),
                    pictures if pictures.is_file() else None,
                )
            )
        made.append(Board(dataset, protocol, rules, entries))
    return made


def _numbers(content: dict[str, Any], dataset: str, protocol: str, method: str) -> dict[str, Number]:
    return {
        result["metric"]: Number(
            100 * result["value"], _in_per_cent(result["low"]), _in_per_cent(result["high"]), result["n"]
        )
        for result in content["results"]
        if (result["dataset"], result["protocol"], result["method"]) == (dataset, protocol, method)
        and result["value"] is not None
    }


def _in_per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _baselines(contents: Any, dataset: str, protocol: str) -> list[Entry]:
    """The baselines of the first run that has judged this set."""
    for content in contents:
        methods = [
            result["method"]
            for result in content["results"]
            if (result["dataset"], result["protocol"]) == (dataset, protocol) and result["method"] != "model"
        ]
        if methods:
            return [
                Entry(method, "looks at nothing", _numbers(content, dataset, protocol, method))
                for method in reversed(list(dict.fromkeys(methods)))
            ]
    return []


def _gains(first: Path, second: Path, dataset: str, protocol: str) -> dict[str, Number]:
    """The differences between two runs on the same queries, where both kept their decisions."""
    from commands.decisions import compare, read_decisions

    where = f"dataset == {dataset} and protocol == {protocol}"
    try:
        groups, other_groups = (
            read_decisions(folder / "test" / "decisions.parquet", where) for folder in (first, second)
        )
        comparisons = compare(groups, other_groups)
    except RunError:  # evaluations other than phrase grounding keep no decisions
        return {}
    return {
        metric: Number(100 * paired.value, 100 * paired.low, 100 * paired.high, paired.queries)
        for _, _, metric, paired in comparisons
    }


def write_csv(path: Path, made: Sequence[Board]) -> None:
    """Every number as a line of its own."""
    header = ["dataset", "protocol", "method", "metric", "value", "low", "high", "n", "seed", "commit"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for board in made:
            for entry in board.entries:
                for metric, number in entry.numbers.items():
                    bounds = ["" if end is None else f"{end:.2f}" for end in (number.low, number.high)]
                    values = [f"{number.value:.2f}", *bounds]
                    origin = [number.samples, entry.seed, entry.commit]
                    writer.writerow([board.dataset, board.protocol, entry.name, metric, *values, *origin])


def write_markdown(path: Path, made: Sequence[Board]) -> None:
    """A table for each data set and protocol."""
    parts = []
    for board in made:
        header = ["method", *(f"{metric.replace('_', ' ')} %" for metric in board.metrics), "n"]
        lines = [f"### {board.dataset} ({board.protocol})", "", f"| {' | '.join(header)} |"]
        lines.append("|" + "---|" * len(header))
        for entry in board.entries:
            cells = [cell_text(entry, metric) for metric in board.metrics]
            samples = max((number.samples for number in entry.numbers.values()), default=0)
            lines.append(f"| {entry.name} | {' | '.join(cells)} | {samples:,} |")
        parts.append("\n".join(lines))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def cell_text(entry: Entry, metric: str) -> str:
    """A number with its interval, and what it gained over the row that it starts from."""
    number = entry.numbers.get(metric)
    if number is None:
        return "not measured" if not entry.numbers else "-"
    text = f"{number.value:.1f}{number.interval}"
    gain = entry.gains.get(metric)
    if gain is not None:
        text += f" ({gain.value:+.1f}{gain.interval})"
    return text


def main(argv: list[str]) -> int:
    """Runs and writes a leaderboard as a command; returns the exit code."""
    parser = options_parser("leaderboard", __doc__)
    parser.add_argument("--out", type=Path, default=Path("leaderboard"), help="folder of the page")
    options, extra = parser.parse_known_args(argv[1:])
    try:
        return make(options, extra)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def make(options: argparse.Namespace, extra: list[str]) -> int:
    """Runs what is not done yet, and writes the page.

    Args:
        options: of the command.
        extra: options for every run.

    Returns:
        1 if a row could not be run, the code of a run that a signal has stopped, else 0.

    Raises:
        RunError: the table cannot be used, or nothing was measured.
    """
    table = read_table(options.table)
    scale = options.scale or table.scales[0]
    rows = table.chosen(options.only, scale)
    if options.dry:
        return run_rows(table, rows, options, extra)
    failed = []
    for row in rows:
        code = run_rows(table, [row], options, extra)
        if code in {STOPPED, CONTINUED}:
            print("\nnot done; the same command goes on from here.")
            return code
        if code:
            failed.append(row.name)
    made = boards(table, rows, scale, options.seeds[0], options.runs)
    if not made:
        raise RunError("no row was measured; what is printed above says why.")
    from commands.leaderboard_page import write_page

    options.out.mkdir(parents=True, exist_ok=True)
    write_page(options.out / "index.html", f"{table.name}, {scale} scale", made)
    write_csv(options.out / "leaderboard.csv", made)
    write_markdown(options.out / "leaderboard.md", made)
    for name in failed:
        print(f"not measured: {name}; what is printed above says why.")
    print(f"written to {options.out / 'index.html'}, leaderboard.csv and leaderboard.md beside it")
    return 1 if failed else 0
