"""Tables of runs: what the files of configs/ablation hold, and what each of their runs is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from commands.runs import RunError
from lightning_modules.project_files import project_file


@dataclass(frozen=True)
class Row:
    """A row or a stage of a table: a run.

    Args:
        name: as printed.
        config: its configuration at each scale, e.g. ``{paper: ..., demo: ...}``; or several, each laid over
            those before it.
        options: option -> value, or option -> {scale: value}.
        weights: option -> name of the stage or of the earlier row whose last checkpoint it is set to.
        paper: column -> the paper's number, in per cent.
        trained: whether it is trained before it is judged.
        scales: at which it is run; none for all. Where a start of other rows is not run, they begin as their
            configuration says.
        curve: name of the curve of the table's figure that it is a point of; none for no curve.
        at: where on the curve.
        about: what it is and learns from, for a leaderboard.
    """

    name: str
    config: dict[str, str | list[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    trained: bool = True
    scales: tuple[str, ...] = ()
    curve: str = ""
    at: float = 0.0
    about: str = ""

    def runs_at(self, scale: str) -> bool:
        """Whether there is such a run at a scale."""
        return not self.scales or scale in self.scales

    @property
    def folder(self) -> str:
        """Its name as a folder may be called.

        Example:
            >>> Row("scratch, beta 0.1").folder
            'scratch-beta-0.1'
            >>> Row("+ L_phrase + L_add").folder, Row("g++").folder
            ('L_phrase-L_add', 'g++')
        """
        return re.sub(r"(?:[^\w.+]|(?<![\w+])\+)+", "-", self.name).strip("-")


@dataclass(frozen=True)
class Table:
    """What is run and what is printed.

    Args:
        name: of its file; its runs lie in a folder of that name.
        scales: names of the scales that it can be run at, the usual one first.
        columns: title -> ``dataset/protocol/metric``, or with ``/n`` behind it the number of samples; or a
            key of ``metrics.json``, e.g. ``step``; or None for what only the paper has measured.
        stages: runs that are trained, but not judged, for rows to start from.
        rows: runs that are judged.
        baselines: methods that need no training, printed above the rows.
    """

    name: str
    scales: tuple[str, ...]
    columns: dict[str, str | None]
    stages: tuple[Row, ...]
    rows: tuple[Row, ...]
    baselines: tuple[str, ...] = ()

    def run_name(self, row: Row, scale: str, seed: int) -> str:
        """The name of a run."""
        return f"{self.name}-{scale}/{row.folder}-seed{seed}"

    def chosen(self, texts: Iterable[str], scale: str) -> list[Row]:
        """The rows at a scale whose name contains one of some texts.

        Raises:
            RunError: there are none.
        """
        texts = list(texts)
        rows = [row for row in self.rows if row.runs_at(scale) and any(text in row.name for text in texts)]
        if not rows:
            names = "; ".join(row.name for row in self.rows)
            raise RunError(f"no row of {self.name} contains {' or '.join(texts)} (it has: {names}).")
        return rows

    def before(self, rows: Iterable[Row], scale: str) -> list[Row]:
        """All runs at a scale that these rows need, themselves included, in the order of the file."""
        needed: set[str] = set()
        waiting = [row.name for row in rows]
        by_name = {row.name: row for row in (*self.stages, *self.rows)}
        while waiting:
            name = waiting.pop()
            needed.add(name)
            waiting.extend(by_name[name].weights.values())
        return [row for name, row in by_name.items() if name in needed and row.runs_at(scale)]


def read_table(path: Path) -> Table:
    """Reads a table of runs.

    Args:
        path: a file of configs/ablation.

    Raises:
        RunError: no such file, or it lacks something.
    """
    path = project_file(path)
    if not path.is_file():
        raise RunError(f"table {path} not found; those that there are lie in configs/ablation.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = _table(path.stem, content)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise RunError(
            f"{path} is no table of runs ({type(error).__name__}: {error}); those of configs/ablation show "
            "what it must hold."
        ) from error
    _check_names(path, table)
    return table


def _table(name: str, content: dict[str, Any]) -> Table:
    usual_config = content.get("config", {})
    scales = content.get("scales")
    if scales is None:
        scales = list(usual_config) if isinstance(usual_config, dict) else ["paper"]

    def read_row(row: dict[str, Any]) -> Row:
        config = row.get("config", usual_config)
        if not isinstance(config, dict):
            config = dict.fromkeys(scales, config)
        return Row(**{**row, "config": config})

    stages = content.get("stages") or {}
    return Table(
        name,
        tuple(scales),
        content["columns"],
        tuple(read_row({"name": stage, **stages[stage]}) for stage in stages),
        tuple(read_row(row) for row in content["rows"]),
        tuple(content.get("baselines") or ()),
    )


def _check_names(path: Path, table: Table) -> None:
    """Raises `RunError` if a row names a column, a stage or an earlier row that the table does not have, or
    would be kept where another is.
    """
    earlier: set[str] = set()
    folders: dict[str, str] = {}
    for row in (*table.stages, *table.rows):
        other = folders.setdefault(row.folder, row.name)
        if other != row.name:
            raise RunError(
                f"{path}: {other!r} and {row.name!r} would be the same folder; call one otherwise."
            )
        for start in row.weights.values():
            if start not in earlier:
                raise RunError(
                    f"{path} has no stage and no earlier row {start!r}, which {row.name!r} starts from."
                )
        for column in row.paper:
            if column not in table.columns:
                raise RunError(f"{path} has no column {column!r}, which {row.name!r} names.")
        earlier.add(row.name)


def arguments(table: Table, row: Row, scale: str, seed: int, runs: Path) -> list[str]:
    """What ``fit`` and ``test`` of a row are given.

    Args:
        table: that the row is in.
        row: the row or stage.
        scale: one of the table's.
        seed: of the run.
        runs: folder of all runs.

    Raises:
        RunError: the row has no configuration, or no value of an option, for the scale.
    """
    configs = _at_scale(table, row, "configuration", row.config, scale)
    words: list[str] = []
    for config in [configs] if isinstance(configs, str) else configs:
        words += ["--config", config]
    words += ["--runs", str(runs), "--name", table.run_name(row, scale, seed), "--seed_everything", str(seed)]
    by_name = {start.name: start for start in (*table.stages, *table.rows)}
    for option, start in row.weights.items():
        if not by_name[start].runs_at(scale):
            continue
        folder = runs / table.run_name(by_name[start], scale, seed)
        words += [f"--{option}", str(folder / "checkpoints" / "last.ckpt")]
    for option, value in row.options.items():
        if isinstance(value, dict) and set(value) <= set(table.scales):
            value = _at_scale(table, row, option, value, scale)
        words += [f"--{option}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _at_scale(table: Table, row: Row, what: str, values: dict[str, Any], scale: str) -> Any:
    if scale not in values:
        raise RunError(
            f"{row.name!r} of {table.name} has no {what} for the scale {scale!r} "
            f"(it has: {', '.join(values)})."
        )
    return values[scale]
