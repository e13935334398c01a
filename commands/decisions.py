"""What runs have decided on every query: read again, filtered, added up, and compared between two runs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from commands.runs import RunError
from commands.suggest import nearest
from metrics.intervals import Estimate, mean_estimate, rate_estimate
from metrics.paired import PairedDifference, paired_difference

CORRECT_IOU = 0.5
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*")


class Group(NamedTuple):
    """The decisions of one method on one data set under one protocol.

    Args:
        dataset, protocol, method: which they are.
        rows: their part of the table.
    """

    dataset: str
    protocol: str
    method: str
    rows: pa.Table

    def values(self) -> dict[str, np.ndarray]:
        """What each metric is the mean of: (Q,) for each of them."""
        hits = self.rows["hit"].to_numpy()
        ious = self.rows["iou"].to_numpy()
        return {"pointing_game": hits, "box_accuracy": ious >= CORRECT_IOU, "mean_iou": ious}

    def estimates(self) -> dict[str, Estimate]:
        """The metrics, as `metrics.grounding.GroundingScore` has them."""
        estimates = {}
        for metric, values in self.values().items():
            if metric == "mean_iou":
                total = float(values.sum())
                estimates[metric] = mean_estimate(total, float((values**2).sum()), len(values))
            else:
                estimates[metric] = rate_estimate(int(values.sum()), len(values))
        return estimates


def read_decisions(path: Path, where: str = "") -> list[Group]:
    """Reads a run's decisions.

    Args:
        path: a ``decisions.parquet``.
        where: which queries are wanted, see `condition`.

    Raises:
        RunError: the file is missing or damaged, or ``where`` is no condition.
    """
    row_filter = condition(where) if where else None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(
            f"{path} is not readable as decisions; run `python cli.py test` again for this run."
        ) from error
    if row_filter is not None:
        table = table.filter(row_filter)
    return list(_groups(table))


def _groups(table: pa.Table) -> Iterator[Group]:
    names = ("dataset", "protocol", "method")
    keys = table.select(names).group_by(list(names)).aggregate([]).to_pylist()
    for key in keys:
        chosen = [pc.field(name) == key[name] for name in names]
        rows = table.filter(chosen[0] & chosen[1] & chosen[2])
        yield Group(key["dataset"], key["protocol"], key["method"], rows)


def condition(text: str) -> pc.Expression:
    """A condition on the columns of a table of decisions.

    Args:
        text: such as ``box_area < .05 and phrase != people``.

    Raises:
        RunError: it is none, or names no column.

    Example:
        >>> print(condition("iou >= .5 and hit == true"))
        ((iou >= 0.5) and (hit == true))
    """
    from callbacks.evaluations.decision_table import SCHEMA  # here, so that `report --help` needs no torch

    expression = None
    for piece in text.split(" and "):
        match = CONDITION.fullmatch(piece)
        if match is None:
            raise RunError(f"--where: {piece.strip()!r} is no condition such as 'box_area < .05'.")
        name, sign, value = match.groups()
        if name not in SCHEMA.names:
            raise RunError(
                f"--where: there is no {name!r}{nearest(name, SCHEMA.names)}; there are "
                f"{', '.join(SCHEMA.names)}."
            )
        term = COMPARISONS[sign](pc.field(name), _value(value))
        expression = term if expression is None else expression & term
    return expression


def _value(text: str) -> bool | float | str:
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text.strip("'\"")


class Comparison(NamedTuple):
    """Two runs on the queries that both have decided on.

    Args:
        dataset, protocol, metric: what is compared.
        difference: the second run less the first.
    """

    dataset: str
    protocol: str
    metric: str
    difference: PairedDifference


def compare(first: list[Group], second: list[Group], seed: int = 0) -> list[Comparison]:
    """Compares the models of two runs on their common queries.

    Args:
        first: the groups of one run.
        second: the groups of the other.
        seed: of the bootstrap.

    Raises:
        RunError: they have nothing in common.
    """
    by_place = {(group.dataset, group.protocol): group for group in first if group.method == "model"}
    comparisons = []
    for group in second:
        other = by_place.get((group.dataset, group.protocol))
        if group.method != "model" or other is None:
            continue
        _, rows, rows_of_other = np.intersect1d(
            group.rows["key"].to_numpy(), other.rows["key"].to_numpy(), return_indices=True
        )
        images = group.rows["image"].to_numpy()[rows]
        values_of_other = other.values()
        for metric, values in group.values().items():
            if len(rows):
                paired = paired_difference(
                    values_of_other[metric][rows_of_other], values[rows], images, seed=seed
                )
                comparisons.append(Comparison(group.dataset, group.protocol, metric, paired))
    if not comparisons:
        raise RunError("the two runs have no query under one protocol in common.")
    return comparisons
