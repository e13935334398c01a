"""The figure of a table of runs: what was measured as curves over an option."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commands.runs import read_metrics
from commands.tables import Row, Table

Point = tuple[float, float]


def draw_curves(
    table: Table, rows: Sequence[Row], scale: str, seeds: Sequence[int], runs: Path
) -> Path | None:
    """Draws the rows that belong to curves, the mean over the seeds; the other rows become dashed lines.

    Args:
        table: its first column that was measured gives the values.
        rows: of the table, which have been judged.
        scale: one of the table's.
        seeds: of the runs.
        runs: folder of all runs.

    Returns:
        The picture, beside the runs; None if no row belongs to a curve.
    """
    if not any(row.curve for row in rows):
        return None
    title, path = measured_column(table, rows[0], scale, seeds, runs)
    values = {row.name: mean_value(table, row, path, scale, seeds, runs) for row in rows}
    curves: dict[str, list[Point]] = {}
    for row in rows:
        if row.curve:
            curves.setdefault(row.curve, []).append((row.at, values[row.name]))
    levels = {row.name: values[row.name] for row in rows if not row.curve}
    figure = runs / f"{table.name}-{scale}.png"
    _plot(figure, title, curves, levels)
    return figure


def measured_column(table: Table, row: Row, scale: str, seeds: Sequence[int], runs: Path) -> tuple[str, str]:
    """Title and path of the first column of which a row has a number."""
    content = read_metrics(runs / table.run_name(row, scale, seeds[0]) / "test" / "metrics.json")
    measured = {
        f"{result['dataset']}/{result['protocol']}/{result['metric']}" for result in content["results"]
    }
    for title, path in table.columns.items():
        if path in measured:
            return title, path
    raise ValueError(f"no column of {table.name} was measured by {row.name!r}")


def mean_value(table: Table, row: Row, path: str, scale: str, seeds: Sequence[int], runs: Path) -> float:
    """The mean over the seeds of a row's result, in per cent."""
    values = []
    for seed in seeds:
        content = read_metrics(runs / table.run_name(row, scale, seed) / "test" / "metrics.json")
        for result in content["results"]:
            place = f"{result['dataset']}/{result['protocol']}/{result['metric']}"
            if place == path and result["method"] == "model":
                values.append(100 * result["value"])
    return sum(values) / len(values)


def _plot(path: Path, title: str, curves: dict[str, list[Point]], levels: dict[str, float]) -> None:
    from matplotlib.figure import Figure  # here, since it takes a second

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        points = sorted(points)
        axes.plot([at for at, _ in points], [value for _, value in points], marker="o", label=name)
    for name, value in levels.items():
        axes.axhline(value, color="grey", linestyle="--", label=name)
    axes.set_xlabel("threshold")
    axes.set_ylabel(f"{title}, %")
    axes.legend()
    figure.savefig(path, dpi=120)
