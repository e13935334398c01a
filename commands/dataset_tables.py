"""The tables of docs/datasets.md, written from the classes of the data sets and their layouts.

They stand in the page between the lines ``<!-- NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datamodules.catalogue import DATASETS, WITHOUT_IMAGES, layouts
from datamodules.errors import DataError
from datamodules.published_weights import PUBLISHED_WEIGHTS
from datamodules.storage.layout import Layout, SplitCounts

TABLE = re.compile(r"(<!-- (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renew_page(path: Path) -> None:
    """Writes the tables into a page that has places for them.

    Raises:
        DataError: the page is missing or has no such place.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}).") from error
    path.write_text(renewed(page), encoding="utf-8")


def renewed(page: str) -> str:
    """The page with all of its tables as they should be.

    Raises:
        DataError: a table has no place in the page, or a place no table.
    """
    tables = {
        "own data": own_data_table(),
        "where data sets are": place_table(layouts().values()),
        "what data sets are for": purpose_table(layouts().values()),
        "published weights": weights_table(),
    }
    places = [match["name"] for match in TABLE.finditer(page)]
    if sorted(places) != sorted(tables):
        raise DataError(
            f"the page has places for the tables {', '.join(places) or 'none'}; it must have one for each of "
            f"{', '.join(tables)}, between <!-- NAME --> and <!-- end -->."
        )
    return TABLE.sub(lambda match: f"{match[1]}{tables[match['name']]}\n{match[3]}", page)


def own_data_table() -> str:
    """The data sets that have no publisher: made by the project, or the user's own."""
    rows = []
    for kind in (*DATASETS, *WITHOUT_IMAGES):
        if kind.layout is None:
            summary = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
            rows.append([_code(kind.__name__), summary.replace("``", "`")])
    return markdown(["class", "what it is"], rows)


def place_table(published: Iterable[Layout]) -> str:
    """Where each data set is looked for, its size, how it is obtained, and its licence."""
    rows = [
        [
            _code(layout.name),
            f"[{layout.title}]({layout.page})",
            _code(layout.root),
            layout.size,
            layout.obtained,
            layout.licence,
        ]
        for layout in published
    ]
    return markdown(["class", "data set", "default folder", "size", "obtained", "licence"], rows)


def purpose_table(published: Iterable[Layout]) -> str:
    """What can be learnt from each data set, and what can be judged on it, with the published counts."""
    rows = []
    for layout in published:
        trained = [counts for counts in layout.counts if counts.split == "train"]
        judged = [counts for counts in layout.counts if counts.split != "train"]
        rows.append(
            [
                _code(layout.name),
                _purpose(layout.trains_on, trained),
                _purpose(layout.judged_on, judged),
            ]
        )
    return markdown(["class", "trains on (published counts)", "judged on (published counts)"], rows)


def _purpose(kind: str, counts: list[SplitCounts]) -> str:
    if not kind:
        return "-"
    if not counts:
        return kind
    texts = [describe(split).removeprefix("train ") for split in counts]
    return f"{kind}: {'; '.join(texts)}"


def describe(counts: SplitCounts) -> str:
    """The counts of a split in words.

    Example:
        >>> describe(SplitCounts("val", 1_500, 10_834, needed_if={"split_by": "unc|umd"}))
        'val 1,500 images, 10,834 queries (split_by=unc or umd)'
    """
    numbers = []
    if counts.records is not None:
        numbers.append(f"{counts.records:,} {counts.unit}")
    if counts.queries is not None:
        numbers.append(f"{counts.queries:,} queries")
    conditions = [f"{option}={values.replace('|', ' or ')}" for option, values in counts.needed_if.items()]
    remarks = ", ".join([*conditions, *filter(None, [counts.note])])
    text = f"{counts.split} {', '.join(numbers)}".rstrip()
    return f"{text} ({remarks})" if remarks else text


def weights_table() -> str:
    """Where published weights are looked for, their size, how they are obtained, and their licence."""
    rows = []
    for layout in PUBLISHED_WEIGHTS:
        part = layout.parts[0]
        obtained = layout.obtained
        if part.checksum:
            obtained += ", SHA-256 known"
        rows.append(
            [
                _code(layout.name),
                f"[{layout.title}]({layout.page})",
                _code(f"{layout.root}/{part.path}"),
                layout.size,
                obtained,
                layout.licence,
            ]
        )
    return markdown(["name", "what it is", "default file", "size", "obtained", "licence"], rows)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    Example:
        >>> print(markdown(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    lines = [header, *rows]
    table = [f"| {' | '.join(line)} |" for line in lines]
    table.insert(1, f"|{'---|' * len(header)}")
    return "\n".join(table)


def _code(text: str) -> str:
    return f"`{text}`"
