"""Every number that a run logs, in one file that outlives whatever ends the run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

Row = dict[str, str]


class MetricsFile(Logger):
    """Writes ``metrics.csv``: a row for each step at which something is logged, a column for each number.

    A row is on disk as soon as it is logged. A resumed run drops the rows of steps that it takes once more,
    and goes on in the same file, so that the file of a run in parts is that of the run in one piece. The step
    is that of Lightning's loggers: the number of the last step, from 0. Tests add rows of their own, at the
    step of the checkpoint that is judged.

    Args:
        path: of the file.
        training: whether this start trains; other starts only add rows.
    """

    def __init__(self, path: Path, training: bool) -> None:
        super().__init__()
        self.path = path
        self._training = training
        self._columns: list[str] = []
        self._row: Row = {}
        self._start = 0  # of the last row, in bytes
        self._is_open = False

    @property
    def name(self) -> str:
        """Required of a logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """Required of a logger."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration has a file of its own."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Writes numbers into the row of a step."""
        values = {name: repr(value) for name, value in metrics.items()}
        step = step or 0
        if not self._is_open:
            self._open(step)
        if self._row.get("step") != str(step):
            if self._row:
                self._start = self.path.stat().st_size
            self._row = {"step": str(step)}
        self._row |= values
        new_columns = [name for name in self._row if name not in self._columns]
        if new_columns:
            self._columns += new_columns
            self._rewrite(list(read_rows(self.path))[: self._rows_before()])
        self._write_row()

    def _open(self, step: int) -> None:
        """Takes over what an earlier start has written."""
        self._is_open = True
        rows = list(read_rows(self.path))
        self._columns = list(rows[0]) if rows else ["step"]
        if self._training:
            last = [row for row in rows if int(row["step"]) == step]
            rows = [row for row in rows if int(row["step"]) < step]
            # A validation after the last step before has the number of the step to come.
            self._row = {name: value for name, value in last[0].items() if value} if last else {}
        self._rewrite(rows)

    def _rows_before(self) -> int:
        """How many rows stand before the last one."""
        with self.path.open("rb") as file:
            return file.read(self._start).count(b"\n") - 1

    def _rewrite(self, rows: list[Row]) -> None:
        """Writes header and rows anew, beside the file and then in its place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.partial")
        lines = [_line(self._columns), *(_line(row.get(name, "") for name in self._columns) for row in rows)]
        partial.write_bytes("".join(lines).encode())
        partial.replace(self.path)
        self._start = self.path.stat().st_size

    def _write_row(self) -> None:
        with self.path.open("r+b") as file:
            file.seek(self._start)
            file.write(_line(self._row.get(name, "") for name in self._columns).encode())
            file.truncate()


def _line(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a ``metrics.csv``, without one that was cut off."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    yield from csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
