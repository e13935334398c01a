"""Results as data and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One number: what was measured, where, by which rules, of which method (``model``, or a baseline), with
    its 95 % interval and sample count.
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
    return {
        name: (None if math.isnan(value) else round(value, 6)) if isinstance(value, float) else value
        for name, value in asdict(result).items()
    }


def format_estimate(value: float | None, low: float | None, high: float | None) -> str:
    """``58.3 [55.1, 61.4]`` in per cent."""
    if value is None or math.isnan(value):
        return "-"
    interval = (
        "" if low is None or high is None or math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    )
    return f"{100 * value:.1f}{interval}"


def format_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns, the first two to the left."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    pad = [str.ljust, str.ljust] + [str.rjust] * (len(header) - 2)
    lines = [
        "  ".join(side(cell, width) for side, cell, width in zip(pad, row, widths, strict=True))
        for row in table
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def format_table(results: Sequence[Result]) -> str:
    """A row for each data set, protocol and method; a column for each metric, in per cent with its 95 %
    interval.
    """
    metrics = list(dict.fromkeys(result.metric for result in results))
    rows: dict[tuple[str, str, str], dict[str, Result]] = {}
    for result in results:
        rows.setdefault((result.dataset, result.protocol, result.method), {})[result.metric] = result
    order = {"random": 0, "centre": 1}
    body = [
        [
            f"{dataset} ({rules})",
            method,
            *(
                format_estimate(found[m].value, found[m].low, found[m].high) if m in found else "-"
                for m in metrics
            ),
            f"{max(result.n for result in found.values()):,}",
        ]
        for (dataset, rules, method), found in sorted(
            rows.items(), key=lambda row: (*row[0][:2], order.get(row[0][2], 2))
        )
    ]
    return format_rows(["data (protocol)", "method", *(f"{metric} %" for metric in metrics), "n"], body)
