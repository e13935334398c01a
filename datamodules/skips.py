"""Records that could not be read: counted, named in a file, and a reason to stop when there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import DataError

LEFT_OUT = "left out: "  # how the reason begins for a record that is sound, but of no use


def is_left_out(reason: str) -> bool:
    """Whether a record is sound, but of no use to the run, and no reason to stop it."""
    return reason.startswith(LEFT_OUT)


def reason_of(reason: str) -> str:
    """Why a record is left out, without the words that mark it so."""
    return reason.removeprefix(LEFT_OUT)


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
        self.unreadable = 0

    def add(self, lines: Sequence[str]) -> None:
        """Takes the ``skipped`` lines of a batch.

        Raises:
            DataError: more than ``max_share`` of the records are unreadable.
        """
        new = [line for line in lines if line.split("\t")[0] not in self.seen]
        if not new:
            return
        self.seen.update(line.split("\t")[0] for line in new)
        self.unreadable += sum(not is_left_out(line.partition("\t")[2]) for line in new)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A name may hold bytes that are no UTF-8.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{line}\n" for line in new)
        if self.unreadable > max(self.grace, self.max_share * self.total):
            raise DataError(
                f"{self.unreadable} of {self.total} records could not be read, more than "
                f"max_skipped={self.max_share:.2%}; they are named in {self.path}: mend them, or raise "
                "--data.max_skipped."
            )
