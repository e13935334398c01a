"""What became of the records of a data set: each is used, or left out or skipped for a reason that is named.

A record is what a set is learnt from or judged by: an image to learn from; a query, a question, a caption, a
pair or an image to be judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datamodules.kinds.base import Source
from datamodules.skips import SkipLog, is_left_out, reason_of

NOT_REACHED = "not reached"
NOT_JUDGED = "nothing to judge by"


@dataclass(frozen=True)
class Account:
    """The sum of a data set: ``records`` is ``used`` and all of ``left_out`` and ``skipped`` together.

    Args:
        name: of the data set.
        records: in its files.
        used: how many of them are learnt from or were judged.
        left_out: how many are sound but of no use to this run, by reason.
        skipped: how many cannot be read; the run's ``skipped-*.tsv`` name each of them with its reason.

    Example:
        >>> print(Account("folder", 12, 9, {"no phrase in its captions": 2}, 1))
        folder: 12 records = 9 used + 2 left out (no phrase in its captions) + 1 skipped
    """

    name: str
    records: int
    used: int
    left_out: dict[str, int]
    skipped: int

    def __str__(self) -> str:
        parts = [f"{self.used:,} used"]
        parts += [f"{count:,} left out ({reason})" for reason, count in self.left_out.items()]
        parts.append(f"{self.skipped:,} skipped")
        return f"{self.name}: {self.records:,} records = {' + '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        return {
            "records": self.records,
            "used": self.used,
            "left_out": self.left_out,
            "skipped": self.skipped,
        }


@dataclass
class Reading:
    """What one process met while it read a data set.

    Attributes:
        used: records that were judged.
        not_judged: records that hold no answer to judge by.
        lost: the reason for each record that was left out or skipped, by name.
    """

    used: int = 0
    not_judged: int = 0
    lost: dict[str, str] = field(default_factory=dict)


class Ledger:
    """Keeps the account of one data set in one process.

    Args:
        name: of the data set.
        source: its records.
        to_train: whether they are learnt from. Such records are used unless they turn out to be unreadable;
            others are used when they are judged.
        path: of the file that names what is skipped.
        max_skipped: share of unreadable records above which a run stops.
    """

    def __init__(self, name: str, source: Source, to_train: bool, path: Path, max_skipped: float) -> None:
        self.name = name
        self.to_train = to_train
        self.offered = len(source) if to_train else source.number_of_samples
        self.broken = len(source.broken)
        self.left_out = Counter({reason: count for reason, count in source.left_out.items() if count})
        self.reading = Reading()
        self.skips = SkipLog(path, self.records, max_skipped)
        self.skips.add(source.broken)

    @property
    def records(self) -> int:
        """How many there are in the files."""
        return self.offered + self.broken + self.left_out.total()

    def read(self, used: int, not_judged: int, skipped: Sequence[str]) -> None:
        """Takes note of a batch.

        Args:
            used: records that are judged.
            not_judged: records without an answer to judge by.
            skipped: a line for each record that was left out or skipped.

        Raises:
            DataError: too many records are unreadable.
        """
        self.reading.used += used
        self.reading.not_judged += not_judged
        for line in skipped:
            name, _, reason = line.partition("\t")
            self.reading.lost.setdefault(name, reason)
        self.skips.add(skipped)

    def account(self, readings: Sequence[Reading]) -> Account:
        """The account, from the readings of all processes."""
        lost: dict[str, str] = {}
        for reading in readings:
            lost |= reading.lost
        useless = Counter(reason_of(reason) for reason in lost.values() if is_left_out(reason))
        left_out = self.left_out + useless
        unread = self.offered - len(lost)
        used = unread
        if not self.to_train:
            used = sum(reading.used for reading in readings)
            not_judged = sum(reading.not_judged for reading in readings)
            left_out += Counter({NOT_JUDGED: not_judged, NOT_REACHED: unread - used - not_judged})
        skipped = self.broken + len(lost) - useless.total()
        return Account(self.name, self.records, used, dict(left_out), skipped)
