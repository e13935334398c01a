"""Results as data and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One number.

    Args:
        dataset: on which it was measured.
        protocol: by which rules.
        method: of which method: ``model``, or a baseline.
        metric: what was measured.
        value: the number.
        low, high: its 95 % interval.
        n: how many samples it stands on.
    """

    dataset: str
    protocol: str
    method: str
    metric: str
    value: float
    low: float
    high: float
    n: int


def tidy(result: Result) -> dict[str, Any]:
    """A result as JSON can hold it: six digits, and null for nan."""
    fields = asdict(result)
    for name, value in fields.items():
        if isinstance(value, float):
            fields[name] = None if math.isnan(value) else round(value, 6)
    return fields


def format_estimate(value: float | None, low: float | None, high: float | None) -> str:
    """A number and its interval in per cent; ``-`` if there is none.

    Example:
        >>> format_estimate(0.583, 0.551, 0.614)
        '58.3 [55.1, 61.4]'
        >>> format_estimate(0.583, None, None)
        '58.3'
    """
    if value is None or math.isnan(value):
        return "-"
    if low is None or high is None or math.isnan(low):
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def format_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with aligned columns, the first two to the left.

    Example:
        >>> print(format_rows(["name", "x", "value"], [["a", "b", "100"]]))
        name  x  value
        --------------
        a     b    100
    """
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    pads = [str.ljust, str.ljust] + [str.rjust] * (len(header) - 2)
    lines = []
    for row in table:
        cells = zip(pads, row, widths, strict=True)
        lines.append("  ".join(pad(cell, width) for pad, cell, width in cells))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def format_table(results: Sequence[Result]) -> str:
    """A row for each data set, protocol and method; a column for each metric, in per cent with its 95 %
    interval.
    """
    metrics = list(dict.fromkeys(result.metric for result in results))
    rows: dict[tuple[str, str, str], dict[str, Result]] = {}
    for result in results:
        rows.setdefault((result.dataset, result.protocol, result.method), {})[result.metric] = result
    body = []
    for dataset, protocol, method in sorted(rows, key=_order):
        result_of_metric = rows[dataset, protocol, method]
        cells = [_cell(result_of_metric.get(metric)) for metric in metrics]
        samples = max(result.n for result in result_of_metric.values())
        body.append([f"{dataset} ({protocol})", method, *cells, f"{samples:,}"])
    return format_rows(["data (protocol)", "method", *(f"{metric} %" for metric in metrics), "n"], body)


def _order(row: tuple[str, str, str]) -> tuple[str, str, int]:
    """Baselines stand above the model."""
    dataset, protocol, method = row
    return dataset, protocol, {"random": 0, "centre": 1}.get(method, 2)


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return format_estimate(result.value, result.low, result.high)
