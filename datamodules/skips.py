"""Records that could not be read: counted, named in a file, and a reason to stop when there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import DataError


class SkipLog:
    """Appends each unreadable record once to ``path`` (a tab between name and reason).

    Args:
        path: file to write; made with the first record.
        total: records of the data set.
        max_share: above this share of ``total`` (but never for fewer than ``grace`` records) the run stops.
    """

    grace = 5

    def __init__(self, path: Path, total: int, max_share: float) -> None:
        self.path = path
        self.total = total
        self.max_share = max_share
        self.seen: set[str] = set()

    def add(self, lines: Sequence[str]) -> None:
        """Takes the ``skipped`` lines of a batch.

        Raises:
            DataError: more than ``max_share`` of the records are unreadable.
        """
        new = [line for line in lines if line.split("\t")[0] not in self.seen]
        if not new:
            return
        self.seen.update(line.split("\t")[0] for line in new)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A name may hold bytes that are no UTF-8.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{line}\n" for line in new)
        if len(self.seen) > max(self.grace, self.max_share * self.total):
            raise DataError(
                f"{len(self.seen)} of {self.total} records could not be read, more than "
                f"max_skipped={self.max_share:.2%}; they are named in {self.path}: mend them, or raise "
                "--data.max_skipped."
            )
