"""What a data set or a checkpoint looks like on disk, where it is had, and how much of it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

State = Literal["complete", "present", "partial", "incomplete", "missing", "not there"]
WILD = frozenset("*?[")


@dataclass(frozen=True)
class Part:
    """A file, or files of one kind.

    Args:
        path: below the data set's folder; ``*`` stands for any name.
        what: a few words.
        count: how many files there are in a complete copy; None where nobody says.
        url: where it may be fetched freely; empty where the publisher wants to be asked, or where there is no
            lasting address.
        checksum: of what ``url`` gives, ``sha256:...`` or ``md5:...``, where its publisher or a well-kept
            library states one.
        size: bytes of what ``url`` gives; 0 where unknown.
        unpack: folder below the data set's, into which the archive of ``url`` goes; None if ``url`` is the
            file itself.
        where: values of constructor options for which this part is needed, such as ``{"year": "2014"}``;
            several values are separated by ``|``.
        elsewhere: other places in which the readers look.
        given: an option that says in which folder these files are, and their pattern in there.
        decays: published as links of which many are dead, so that fewer than ``count`` are to be expected.
        optional: a copy without it works.
    """

    path: str
    what: str
    count: int | None = None
    url: str = ""
    checksum: str = ""
    size: int = 0
    unpack: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    given: tuple[str, str] | None = None
    decays: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Total:
    """What a split holds: ``images`` (or pairs, captions: what its source counts) and ``queries``; None where
    nobody says.
    """

    split: str
    images: int | None = None
    queries: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Layout:
    """A data set, or a checkpoint.

    Args:
        title: its name.
        page: of its publisher.
        licence: in the publisher's words.
        size: on disk, about.
        requires: what the publisher wants of who uses it, and where what cannot be fetched is had.
        parts: what lies below ``root``.
        root: default folder; may name options in braces.
        totals: published counts.
        rot: what is known of dead addresses.
        options: values of the constructor's options that decide what is needed, as its class sets them.
        without: what is used instead if no folder is named; empty if one is needed.
    """

    title: str
    page: str
    licence: str
    size: str
    requires: str
    parts: tuple[Part, ...]
    root: str
    totals: tuple[Total, ...] = ()
    rot: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    without: str = ""

    @property
    def had(self) -> str:
        """How it comes to be on a disk."""
        free = [bool(part.url) for part in self.parts if not part.optional]
        return "by --download" if all(free) else "partly by --download" if any(free) else "by hand"

    def with_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` and the values of those that are not given."""
        return {**self.options, **{name: value for name, value in options.items() if value is not None}}

    def folder(self, options: Mapping[str, Any]) -> Path:
        """The default folder of a data set with these options."""
        return Path(self.root.format(**self.with_options(options)))

    def totals_of(self, options: Mapping[str, Any]) -> list[Total]:
        """The counts that hold for a data set with these options."""
        return [total for total in self.totals if fits(total.where, self.with_options(options))]


class Found(NamedTuple):
    part: Part
    found: int
    expected: int | None
    state: State

    @property
    def lacking(self) -> bool:
        return self.state in {"incomplete", "missing"}


def fits(where: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether every option that ``where`` names has one of its values."""
    return all(str(options.get(name)) in values.split("|") for name, values in where.items())


def check(layout: Layout, root: Path, options: Mapping[str, Any] | None = None) -> list[Found]:
    """How much there is of each part that a data set with these options reads: (part, files found, files
    expected, state).

    ``complete`` and ``present`` (nobody says how many there should be), ``partial`` (fewer, but its links are
    known to die), ``incomplete``, ``missing``; an optional part is ``not there``.
    """
    known = layout.with_options(options or {})
    return [found_of(part, root, known) for part in layout.parts if fits(part.where, known)]


def found_of(part: Part, root: Path, options: Mapping[str, Any]) -> Found:
    """One part; of several places the fullest counts."""
    folder, patterns = place(part, root, options)
    found = max(sum(1 for _ in _matches(folder, pattern)) for pattern in patterns)
    if not found:
        return Found(part, 0, part.count, "not there" if part.optional else "missing")
    if part.count is None:
        return Found(part, found, None, "present")
    if found >= part.count:
        return Found(part, found, part.count, "complete")
    return Found(part, found, part.count, "partial" if part.decays else "incomplete")


def place(part: Part, root: Path, options: Mapping[str, Any]) -> tuple[Path, tuple[str, ...]]:
    """The folder in which a part is looked for, and its patterns in there."""
    if part.given and options.get(part.given[0]) is not None:
        return Path(options[part.given[0]]), (part.given[1],)
    return root, (part.path, *part.elsewhere)


def _matches(root: Path, pattern: str) -> Iterator[Path]:
    """Files that are not empty, and folders."""
    path = Path(os.path.normpath(root / pattern))  # a pattern may begin with ".."
    steps = path.parts
    fixed = next((n for n, step in enumerate(steps) if WILD & set(step)), len(steps))
    folder = Path(*steps[:fixed])
    if fixed == len(steps):
        if path.is_dir() or (path.is_file() and path.stat().st_size):
            yield path
    elif folder.is_dir():
        yield from folder.glob("/".join(steps[fixed:]))
