"""What a data set or published weights need, and what of it is there; --download fetches what is free."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from callbacks.evaluations.results import format_rows
from commands.option_parser import option_parser
from commands.suggest import nearest
from datamodules.errors import DataError
from datamodules.published_weights import WEIGHTS
from datamodules.storage.fetch import fetch_missing
from datamodules.storage.layout import Layout, instructions
from datamodules.storage.local_copy import LocalCopy, PartState


def main(argv: list[str]) -> int:
    """Runs the subcommand; returns 0 if what was named is complete, 1 otherwise."""
    arguments = parse_arguments(argv[1:])
    try:
        if arguments.markdown is not None:
            from commands.dataset_tables import renew_page

            renew_page(arguments.markdown)
            return 0
        if arguments.dataset is None:
            print(overview())
            return 0
        layout = named(arguments.dataset)
        options = parse_options(arguments.options)
        root = arguments.root or layout.folder(options)
        return prepare(LocalCopy(layout, root, options), arguments.download, arguments.keep)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parse_arguments(words: list[str]) -> argparse.Namespace:
    """The command line; options of a data set may stand between those of the command."""
    parser = option_parser("prepare", __doc__)
    parser.add_argument(
        "dataset", nargs="?", help="class of a data set, or name of published weights; all if it is left out"
    )
    parser.add_argument(
        "options",
        nargs="*",
        metavar="OPTION=VALUE",
        help="as its class takes them, such as year=2017: only what they need is looked at",
    )
    parser.add_argument("--root", type=Path, help="folder of the data set; by default that of its class")
    parser.add_argument(
        "--download", action="store_true", help="fetch what is free; without it nothing is fetched"
    )
    parser.add_argument("--keep", action="store_true", help="keep archives after they were unpacked")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="renew the tables in a page such as docs/datasets.md"
    )
    return parser.parse_intermixed_args(words)


def all_layouts() -> dict[str, Layout]:
    """The layouts of all data sets, by class, and of all published weights."""
    from datamodules.catalogue import layouts  # loads torch

    return layouts() | WEIGHTS


def named(name: str) -> Layout:
    """A layout by the class of its data set or the name of its weights; case, ``_`` and ``-`` do not matter.

    Raises:
        DataError: there is none of that name.
    """
    known_layouts = all_layouts()
    for key, layout in known_layouts.items():
        if _plain(key) == _plain(name):
            return layout
    longer = [key for key in known_layouts if _plain(name) in _plain(key)]
    suggestion = nearest(name, known_layouts) or ","
    if longer:
        suggestion = (
            f"; there are {', '.join(longer)}:" if len(longer) > 1 else f", did you mean {longer[0]!r}?"
        )
    raise DataError(
        f"no data set or published weights {name!r}{suggestion} `python cli.py prepare` lists them."
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def parse_options(texts: list[str]) -> dict[str, str]:
    """The options of a data set.

    Raises:
        DataError: one has no ``=``.

    Example:
        >>> parse_options(["year=2014"])
        {'year': '2014'}
    """
    options = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise DataError(f"{text!r} is no OPTION=VALUE such as year=2017.")
        options[name] = value
    return options


def overview() -> str:
    """All data sets and published weights, how they can be obtained, and their size."""
    rows = [[name, layout.title, layout.obtained, layout.size] for name, layout in all_layouts().items()]
    return format_rows(["name", "what it is", "obtained", "size"], rows)


def prepare(copy: LocalCopy, fetch: bool = False, keep_archives: bool = False) -> int:
    """Says what is needed and what is there, fetches if asked, and builds the index of a data set of which no
    part is missing.

    Returns:
        0 if it is complete, 1 otherwise.

    Raises:
        DataError: fetching, unpacking or opening failed.
    """
    print(introduction(copy.layout))
    states = copy.check()
    if fetch and any(state.lacking and state.part.url for state in states):
        fetch_missing(copy, keep_archives, progress=_Progress())
        states = copy.check()
    print(f"\nin {copy.root.absolute()}:\n\n{table(states)}\n")
    if copy.layout.name not in WEIGHTS and not any(state.state == "missing" for state in states):
        print(f"{open_splits(copy)}\n")
    if any(state.lacking for state in states):
        print(f"next: {next_step(copy, states, fetched=fetch)}")
        return 1
    return 0


def introduction(layout: Layout) -> str:
    """What its publisher says."""
    by_hand = instructions(list(layout.parts))
    facts = {
        "page": layout.page,
        "licence": layout.licence,
        "size": layout.size,
        "by hand": by_hand or "nothing, all of it can be fetched with --download",
        "addresses": layout.dead_links,
    }
    return "\n".join([layout.title, *(f"  {name:<10}{text}" for name, text in facts.items() if text)])


def table(states: list[PartState]) -> str:
    """How much there is of each part."""
    rows = []
    for state in states:
        expected = "?" if state.part.count is None else f"{state.part.count:,}"
        rows.append([state.part.path, state.part.content, state.state, f"{state.files:,}", expected])
    return format_rows(["files", "content", "state", "present", "expected"], rows)


def next_step(copy: LocalCopy, states: list[PartState], fetched: bool = False) -> str:
    """What to do about what is lacking."""
    lacking = [state.part for state in states if state.lacking]
    if any(part.url for part in lacking) and not fetched:
        return copy.command(download=True)
    return f"by hand, into {copy.root}: {instructions(lacking)}"


class _Progress:
    """A line that is renewed on a terminal, or one now and then in a log."""

    def __init__(self) -> None:
        self.last_line = time.monotonic()

    def __call__(self, received: int, total: int) -> None:
        on_terminal = sys.stdout.isatty()
        finished = received == total
        pause = 0.5 if on_terminal else 30.0  # seconds
        if not finished and time.monotonic() - self.last_line < pause:
            return
        self.last_line = time.monotonic()
        share = f" of {total / 1e6:,.0f} MB ({received / total:.0%})" if total else ""
        end = "\r" if on_terminal and not finished else "\n"
        print(f"  {received / 1e6:,.0f} MB{share}", end=end, flush=True)


def open_splits(copy: LocalCopy) -> str:
    """Opens every split of a data set, which builds its index, and compares its counts with what is known.

    Raises:
        DataError: nothing can be opened.
    """
    from commands.data_classes import class_named, construct, sources_of

    rows: list[list[str]] = []
    faults: list[str] = []
    counts_by_split = {counts.split: counts for counts in reversed(copy.layout.counts_for(copy.options))}
    for split, source in sources_of(construct(class_named(copy.layout.name), copy.root, copy.options)):
        if isinstance(source, DataError):
            faults.append(f"{split}: {source}")
            continue
        counts = counts_by_split.get(split)
        queries = getattr(source, "number_of_queries", None)  # a source that only trains has none
        rows.append(
            [
                split,
                counts.note if counts else "",
                _count(len(source), counts.records if counts else None),
                _count(queries, counts.queries if counts else None),
                f"{len(source.broken):,}",
            ]
        )
    if not rows:
        raise DataError(" ".join(faults) or f"{copy.layout.name} has no split to open.")
    columns = ["opened", "note", "records (published)", "queries (published)", "left out"]
    return "\n".join([format_rows(columns, rows), *(f"not opened: {fault}" for fault in faults)])


def _count(counted: int | None, published: int | None) -> str:
    text = "-" if counted is None else f"{counted:,}"
    return text if published is None else f"{text} ({published:,})"
