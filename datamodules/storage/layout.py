"""What a data set or a file of published weights looks like on disk, where it can be obtained, and how much
of it there should be.

A `Layout` states the facts of one data set. `datamodules.storage.local_copy` compares them with a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Part:
    """A file of a data set, or files of one kind.

    Args:
        path: below the data set's folder; ``*`` stands for any name.
        content: what it is, in a few words.
        count: how many files there are in a complete copy; None where it is unknown.
        url: where it can be downloaded freely; empty where the publisher wants to be asked, or where there is
            no lasting address.
        checksum: of what ``url`` gives, ``sha256:...`` or ``md5:...``, where its publisher or a well-kept
            library states one.
        size: bytes of what ``url`` gives; 0 where unknown.
        unpack: folder below the data set's, into which the archive of ``url`` is unpacked; None if ``url`` is
            the file itself.
        by_hand: how and where a user obtains what has no ``url``.
        needed_if: values of constructor options for which this part is needed, such as ``{"year": "2014"}``;
            several values are separated by ``|``.
        replaced_by: constructor options that name files of another form; the part is not needed where one of
            them is set.
        alternatives: other paths at which the reader looks.
        folder_option: a constructor option that names the folder of these files, and their pattern in it.
        links_expire: published as links of which many are dead, so that fewer than ``count`` are expected.
        optional: a copy without it works.
    """

    path: str
    content: str
    count: int | None = None
    url: str = ""
    checksum: str = ""
    size: int = 0
    unpack: str | None = None
    by_hand: str = ""
    needed_if: Mapping[str, str] = field(default_factory=dict)
    replaced_by: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    folder_option: tuple[str, str] | None = None
    links_expire: bool = False
    optional: bool = False

    def is_needed(self, options: Mapping[str, Any]) -> bool:
        """Whether a data set with these options reads it."""
        replaced = any(options.get(name) is not None for name in self.replaced_by)
        return matches(self.needed_if, options) and not replaced


@dataclass(frozen=True)
class SplitCounts:
    """How much a split holds, as published.

    Args:
        split: its name.
        records: number of its records; None where it is unknown.
        queries: phrases, expressions or questions in all; None where there are none or it is unknown.
        unit: what its records are.
        needed_if: values of constructor options for which the counts hold, as for `Part`.
        note: what a reader of the counts must know.
    """

    split: str
    records: int | None = None
    queries: int | None = None
    unit: str = "images"
    needed_if: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Layout:
    """The facts of a data set or of a file of published weights.

    Args:
        name: of the class that reads the data set, or of the weights; ``prepare`` knows it by this name.
        title: what it is called.
        page: its publisher's address.
        licence: in the publisher's words.
        size: on disk, roughly.
        root: default folder; may name options in braces.
        parts: what lies below ``root``.
        trains_on: what a method can learn from; empty if nothing.
        judged_on: what a method can be judged on; empty if nothing.
        counts: published numbers.
        dead_links: what is known of addresses that no longer work.
        options: the constructor's options that decide what is needed, with their defaults.
        fallback: what is used instead if no folder is named; empty if one is needed.

    Example:
        >>> page = "https://example.org"
        >>> photographs = Part("images/*.jpg", "photographs", 500, url=f"{page}/images.zip")
        >>> layout = Layout("Tiny", "Tiny set", page, "CC0", "1 MB", "data/tiny", (photographs,))
        >>> layout.obtained
        'by --download'
        >>> layout.folder({})
        PosixPath('data/tiny')
    """

    name: str
    title: str
    page: str
    licence: str
    size: str
    root: str
    parts: tuple[Part, ...]
    trains_on: str = ""
    judged_on: str = ""
    counts: tuple[SplitCounts, ...] = ()
    dead_links: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    fallback: str = ""

    @property
    def obtained(self) -> str:
        """How a user obtains it: wholly or partly by ``prepare --download``, or by hand."""
        can_be_fetched = [bool(part.url) for part in self.parts if not part.optional]
        if all(can_be_fetched):
            return "by --download"
        if any(can_be_fetched):
            return "partly by --download"
        return "by hand"

    def with_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options``, and the defaults of those that are not set."""
        set_options = {name: value for name, value in options.items() if value is not None}
        return {**self.options, **set_options}

    def folder(self, options: Mapping[str, Any]) -> Path:
        """The default folder of a data set with these options."""
        return Path(self.root.format(**self.with_options(options)))

    def parts_for(self, options: Mapping[str, Any]) -> list[Part]:
        """The parts that a data set with these options reads."""
        values = self.with_options(options)
        return [part for part in self.parts if part.is_needed(values)]

    def counts_for(self, options: Mapping[str, Any]) -> list[SplitCounts]:
        """The counts that hold for a data set with these options."""
        values = self.with_options(options)
        return [counts for counts in self.counts if matches(counts.needed_if, values)]


def matches(needed_if: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether every option that ``needed_if`` names has one of the values named there."""
    return all(str(options.get(name)) in values.split("|") for name, values in needed_if.items())


def instructions(parts: list[Part]) -> str:
    """How to obtain by hand the parts that have no address; empty if there are none.

    Example:
        >>> instructions([Part("a.json", "a", by_hand="ask A"), Part("b.json", "b", by_hand="ask A")])
        'a.json, b.json: ask A'
    """
    paths_by_instruction: dict[str, list[str]] = {}
    for part in parts:
        if not part.url and part.by_hand:
            paths_by_instruction.setdefault(part.by_hand, []).append(part.path)
    return "; ".join(f"{', '.join(paths)}: {text}" for text, paths in paths_by_instruction.items())
