"""What a data set or checkpoint needs, what of it is there, and, with --download, the fetching of what may be
fetched freely.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.evaluations.results import format_rows
from commands.download import download
from commands.suggest import nearest
from datamodules.errors import DataError
from datamodules.sets.layouts import LAYOUTS
from datamodules.sets.layouts_weights import CHECKPOINTS
from datamodules.storage.archives import unpack
from datamodules.storage.layout import Found, Layout, Part, check, place

ARCHIVES = ".downloads"  # below a data set's folder; emptied as archives are unpacked


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cli.py prepare", description=__doc__)
    parser.add_argument(
        "dataset", nargs="?", help="class of a data set, or name of a checkpoint; without it, all are listed"
    )
    parser.add_argument(
        "options",
        nargs="*",
        metavar="OPTION=VALUE",
        help="as its class takes them, such as year=2017: only what they need is looked at",
    )
    parser.add_argument(
        "--root", type=Path, help="folder of the data set; by default the one in which its class looks"
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch what may be fetched freely; without it nothing is fetched",
    )
    parser.add_argument("--keep", action="store_true", help="keep archives after they were unpacked")
    arguments = parser.parse_intermixed_args(argv[1:])  # options may stand between those of the command
    try:
        if arguments.dataset is None:
            print(overview())
            return 0
        name, layout = named(arguments.dataset)
        options = parse_options(arguments.options)
        return prepare(
            name,
            layout,
            arguments.root or layout.folder(options),
            options,
            arguments.download,
            arguments.keep,
        )
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def named(name: str) -> tuple[str, Layout]:
    """A layout by the class of its data set or the name of its checkpoint; case, ``_`` and ``-`` do not
    matter.

    Raises:
        DataError: there is none of that name.
    """
    layouts = LAYOUTS | CHECKPOINTS
    known = {_plain(key): key for key in layouts}
    key = known.get(_plain(name))
    if key is None:
        raise DataError(
            f"no data set or checkpoint {name!r}{nearest(_plain(name), known) or ','} `python cli.py prepare` lists them."
        )
    return key, layouts[key]


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def parse_options(texts: list[str]) -> dict[str, str]:
    """``["year=2014"]`` -> ``{"year": "2014"}``.

    Raises:
        DataError: one has no ``=``.
    """
    for text in texts:
        if "=" not in text:
            raise DataError(f"{text!r} is no OPTION=VALUE such as year=2017.")
    return dict(text.split("=", 1) for text in texts)


def overview() -> str:
    """All data sets and checkpoints, how they are had and what they weigh."""
    rows = [[key, layout.title, layout.had, layout.size] for key, layout in (LAYOUTS | CHECKPOINTS).items()]
    return format_rows(["name", "what", "had", "size"], rows)


def prepare(
    name: str, layout: Layout, root: Path, options: Mapping[str, str], fetch: bool = False, keep: bool = False
) -> int:
    """Says what is needed and what is there, fetches if asked, and builds the index of a data set of which no
    part is missing; 0 if it is complete.

    Raises:
        DataError: fetching, unpacking or opening failed.
    """
    print(introduction(layout))
    found = check(layout, root, options)
    if fetch and any(part.lacking and part.part.url for part in found):
        fetch_parts(layout, found, root, options, keep)
        found = check(layout, root, options)
    print(f"\nin {root.absolute()}:\n\n{table(found)}\n")
    if name in LAYOUTS and not any(part.state == "missing" for part in found):
        print(f"{build(name, layout, root, options)}\n")
    if any(part.lacking for part in found):
        print(f"next: {next_step(name, layout, root, found, options, fetch)}")
        return 1
    return 0


def introduction(layout: Layout) -> str:
    """What the publisher says."""
    said = {
        "page": layout.page,
        "licence": layout.licence,
        "size": layout.size,
        "required": layout.requires,
        "addresses": layout.rot,
    }
    return "\n".join([layout.title, *(f"  {key:<10}{text}" for key, text in said.items() if text)])


def table(found: list[Found]) -> str:
    """What there is of each part."""
    rows = [
        [
            part.part.path,
            part.part.what,
            part.state,
            f"{part.found:,}",
            "?" if part.expected is None else f"{part.expected:,}",
        ]
        for part in found
    ]
    return format_rows(["files", "what", "state", "found", "of"], rows)


def next_step(
    name: str,
    layout: Layout,
    root: Path,
    found: list[Found],
    options: Mapping[str, Any],
    fetched: bool = False,
) -> str:
    """What to do about what is lacking."""
    lacking = [part.part for part in found if part.lacking]
    if any(part.url for part in lacking) and not fetched:
        return f"{command(name, layout, root, options)} --download"
    by_hand = ", ".join(
        str(place(part, root, layout.with_options(options))[0] / part.path) for part in lacking[:3]
    )
    return f"by hand: {by_hand}{' ...' if len(lacking) > 3 else ''}. {layout.requires}"


def command(name: str, layout: Layout, root: Path, options: Mapping[str, Any]) -> str:
    """The command line of this preparation."""
    words = ["python cli.py prepare", name, *(f"{key}={value}" for key, value in options.items())]
    return " ".join(words if root == layout.folder(options) else [*words, f"--root {root}"])


def fetch_parts(
    layout: Layout, found: list[Found], root: Path, options: Mapping[str, str], keep: bool = False
) -> None:
    """Fetches and unpacks what is lacking and free, an archive that serves several parts once.

    Raises:
        DownloadError, ArchiveError: the first thing that went wrong; what came before stays.
    """
    wanted: dict[str, Part] = {}
    for each in found:
        if each.lacking and each.part.url:
            wanted.setdefault(each.part.url, each.part)
    for url, part in wanted.items():
        folder, _ = place(part, root, layout.with_options(options))
        direct = part.unpack is None
        path = root / part.path if direct else root / ARCHIVES / url.rsplit("/", 1)[-1]
        print(f"fetching {url}")
        print(f"  {download(url, path, part.checksum, part.size, _Progress())}")
        if not direct:
            # An archive of photographs brings its own folder, the one that an option names.
            unpacked = unpack(path, root / str(part.unpack) if folder == root else folder.parent)
            print(f"  unpacked {unpacked.files:,} files, {unpacked.size:,} bytes")
            if not keep:
                path.unlink()
    if (root / ARCHIVES).is_dir() and not any((root / ARCHIVES).iterdir()):
        (root / ARCHIVES).rmdir()


class _Progress:
    """A line that is renewed on a terminal, or one now and then in a log."""

    def __init__(self) -> None:
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        terminal, finished = sys.stdout.isatty(), done == total
        if not finished and time.monotonic() - self.shown < (0.5 if terminal else 30):
            return
        self.shown = time.monotonic()
        share = f" of {total / 1e6:,.0f} MB ({done / total:.0%})" if total else ""
        print(f"  {done / 1e6:,.0f} MB{share}", end="\n" if finished or not terminal else "\r", flush=True)


def build(name: str, layout: Layout, root: Path, options: Mapping[str, str]) -> str:
    """Opens every split, which builds its index, and compares it with what is known of it.

    Raises:
        DataError: nothing can be opened.
    """
    from commands.data_classes import class_named, construct, sources_of

    rows, faults = [], []
    for split, source in sources_of(construct(class_named(name), root, options)):
        if isinstance(source, DataError):
            faults.append(f"{split}: {source}")
            continue
        known = next((total for total in layout.totals_of(options) if total.split == split), None)
        counts = (
            len(source),
            getattr(source, "number_of_queries", None),
        )  # a source to train on alone counts none
        expected = (known.images, known.queries) if known else (None, None)
        rows.append(
            [
                split,
                known.note if known else "",
                *(_count(*pair) for pair in zip(counts, expected, strict=True)),
                f"{len(source.broken):,}",
            ]
        )
    if not rows:
        raise DataError(" ".join(faults) or f"{name} has no split to open.")
    opened = format_rows(["opened", "known", "images (known)", "queries (known)", "left out"], rows)
    return "\n".join([opened, *(f"not opened: {fault}" for fault in faults)])


def _count(found: int | None, known: int | None) -> str:
    return f"{'-' if found is None else f'{found:,}'}{'' if known is None else f' ({known:,})'}"
