"""Runs every row of a table of configs/ablation, and prints what was measured beside what the paper reports.

A table is a YAML file: `config` (what every row starts from, or one for each scale), `stages` (runs that come
    first, whose checkpoints rows start from),
`columns` (title: dataset/protocol/metric), and `rows`, each with a `name`, `options` of its own, `weights`
(option: stage) and the `paper`'s numbers. Every run is an ordinary command, printed before it starts; one
that is done already, with the same options, is not done again. Further options are given to every run.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from callbacks.evaluations.results import format_estimate, format_rows
from commands.report import read_metrics
from commands.runs import RunError, claim


@dataclass(frozen=True)
class Row:
    """A row or a stage of a table.

    Args:
        name: as printed.
        config: configuration for each scale, e.g. ``{paper: ..., demo: ...}``; of a row by default the
            table's.
        options: option -> value.
        weights: option -> name of the stage whose last checkpoint it is set to.
        paper: column -> the paper's number, in per cent.
    """

    name: str
    config: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return re.sub(r"[^\w.]+", "-", self.name).strip("-")


@dataclass(frozen=True)
class Table:
    """What is run and what is printed; ``columns``: title -> dataset/protocol/metric."""

    name: str
    columns: dict[str, str]
    stages: tuple[Row, ...]
    rows: tuple[Row, ...]

    @property
    def scales(self) -> list[str]:
        return list(self.rows[0].config)


def read_table(path: Path) -> Table:
    """A table of configs/ablation.

    Raises:
        RunError: no such file, or it lacks something.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = _scales(content["config"])
        stages = tuple(
            Row(name, **{**stage, "config": _scales(stage["config"])})
            for name, stage in (content.get("stages") or {}).items()
        )
        rows = tuple(Row(**{**row, "config": _scales(row.get("config", config))}) for row in content["rows"])
        table = Table(path.stem, content["columns"], stages, rows)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} is no table of runs ({type(error).__name__}: {error}); those of configs/ablation show what it must hold."
        ) from error
    known, wanted = (
        {stage.name for stage in stages},
        {stage for row in (*stages, *rows) for stage in row.weights.values()},
    )
    columns = {column for row in rows for column in row.paper}
    for what, unknown in (("stage", wanted - known), ("column", columns - set(table.columns))):
        if unknown:
            raise RunError(f"{path} has no {what} {sorted(unknown)[0]!r}, which one of its rows names.")
    return table


def _scales(config: str | dict[str, str]) -> dict[str, str]:
    return {"paper": config} if isinstance(config, str) else dict(config)


def arguments(table: Table, row: Row, scale: str, seed: int, runs: Path) -> list[str]:
    """What ``fit`` and ``test`` of a row are given.

    Raises:
        RunError: the row has no configuration for the scale.
    """
    if scale not in row.config:
        raise RunError(
            f"{row.name!r} of {table.name} has no configuration for the scale {scale!r} (it has: {', '.join(row.config)})."
        )
    given = [
        "--config",
        row.config[scale],
        "--runs",
        str(runs),
        "--name",
        run_name(table, row, scale, seed),
        "--seed_everything",
        str(seed),
    ]
    for option, stage in row.weights.items():
        of_stage = next(found for found in table.stages if found.name == stage)
        given += [
            f"--{option}",
            str(runs / run_name(table, of_stage, scale, seed) / "checkpoints" / "last.ckpt"),
        ]
    for option, value in row.options.items():
        given += [f"--{option}", value if isinstance(value, str) else json.dumps(value)]
    return given


def run_name(table: Table, row: Row, scale: str, seed: int) -> str:
    return f"{table.name}-{scale}/{row.folder}-seed{seed}"


def run_row(given: list[str], folder: Path, judged: bool, train: Callable[[list[str]], int]) -> int:
    """Trains and, for a row, judges, as far as that is not done; the exit code of what failed, or 0."""
    done = folder / "test" / "metrics.json" if judged else folder / "finished"
    if done.is_file():
        print(f"\n== {folder.name}: done before", flush=True)
        return 0
    resume = ["--ckpt_path", "last"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
    for command in (["fit", *given, *resume], *([["test", *given, "--ckpt_path", "last"]] if judged else [])):
        print(f"\n== {folder.name}\n$ python cli.py {' '.join(command)}", flush=True)
        code = train(command)
        if code:
            return code
    if not judged and folder.is_dir():
        done.touch()
    return 0


def measured(folder: Path, column: str) -> dict[str, Any] | None:
    """The result dataset/protocol/metric of a run, of its own method; None if it has none."""
    dataset, protocol, metric = column.split("/")
    found = read_metrics(folder / "test" / "metrics.json")["results"]
    wanted = (dataset, protocol, metric, "model")
    return next(
        (
            result
            for result in found
            if tuple(result[key] for key in ("dataset", "protocol", "metric", "method")) == wanted
        ),
        None,
    )


def cell(found: Iterable[dict[str, Any] | None], paper: float | None) -> str:
    """One seed with its interval, or the mean of several with their standard deviation; behind it the paper's
    number.
    """
    known = [result for result in found if result is not None and result["value"] is not None]
    if not known:
        text = "-"
    elif len(known) == 1:
        text = format_estimate(*(known[0][key] for key in ("value", "low", "high")))
    else:
        values = [100 * result["value"] for result in known]
        text = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    return text if paper is None else f"{text} ({paper:.2f})"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="cli.py ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="a file of configs/ablation")
    parser.add_argument(
        "--scale", help="which of the table's configurations, e.g. paper or demo; by default the first"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="TEXT",
        help="only the rows whose name contains one of these",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--dry", action="store_true", help="print the commands, run nothing")
    options, extra = parser.parse_known_args(argv[1:])
    try:
        return _run(options, extra)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, extra: list[str]) -> int:
    table = read_table(options.table)
    scale = options.scale or table.scales[0]
    rows = [row for row in table.rows if any(text in row.name for text in options.only)]
    if not rows:
        raise RunError(
            f"no row of {options.table} contains {' or '.join(options.only)} (it has: {'; '.join(row.name for row in table.rows)})."
        )
    needed = stages_of(table, rows)

    def train(command: list[str]) -> int:
        if options.dry:
            return 0
        from commands.trainer import main as start  # here, so that --help is instant

        return start(command)

    for seed in options.seeds:
        for row in (*needed, *rows):
            folder = options.runs / run_name(table, row, scale, seed)
            given = [*arguments(table, row, scale, seed, options.runs), *extra]
            if not options.dry:
                claim(folder, given)
            code = run_row(given, folder, row in rows, train)
            if code:
                return code
    if not options.dry:
        print(f"\n{format_table(table, rows, scale, options.seeds, options.runs)}")
    return 0


def stages_of(table: Table, rows: Iterable[Row]) -> list[Row]:
    """The stages that these rows start from, and those that they start from, in the order of the file."""
    wanted, names = list(rows), set[str]()
    while wanted:
        new = {stage for row in wanted for stage in row.weights.values()} - names
        names |= new
        wanted = [stage for stage in table.stages if stage.name in new]
    return [stage for stage in table.stages if stage.name in names]


def format_table(table: Table, rows: Iterable[Row], scale: str, seeds: list[int], runs: Path) -> str:
    """A row for each row of the table; in brackets the paper's numbers."""
    lines = []
    for row in rows:
        folders = [runs / run_name(table, row, scale, seed) for seed in seeds]
        lines.append(
            [
                row.name,
                str(len(seeds)),
                *(
                    cell([measured(folder, path) for folder in folders], row.paper.get(title))
                    for title, path in table.columns.items()
                ),
            ]
        )
    spread = "95 % interval" if len(seeds) == 1 else "mean ± standard deviation"
    return format_rows(
        [f"{table.name}, {scale} scale, in %: {spread} (paper)", "seeds", *table.columns], lines
    )
