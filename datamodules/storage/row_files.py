"""Files of a user's own that hold a record a line: CSV, TSV or JSON lines, each gzipped or not.

A record that is broken is named, and takes no other with it: a quote that is never closed ends with its line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from datamodules.errors import DataError, DatasetNotFoundError

IMAGE_COLUMNS = ("image", "image_id", "file_name", "filename", "filepath", "path")
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "sentence")
PHRASE_COLUMN = "phrase"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

# Line number and the fields, or why the record is broken.
Row = tuple[int, dict | str]


def read_rows(path: Path) -> Iterator[Row]:
    """The records of a file as (line number, fields), or (line number, why it is broken).

    Args:
        path: of the file; its suffix says how it is read.

    Raises:
        DatasetNotFoundError: no such file.
        DataError: the file is of another kind, or its header lacks a column.
    """
    if not path.is_file():
        raise DatasetNotFoundError(
            "ImageCaptionFolder",
            path,
            "one caption or query a line",
            "Set --data.captions or --data.test_queries.",
        )
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    try:
        with _open_bytes(path) as raw:
            lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
            if kind in {".jsonl", ".ndjson", ".json"}:
                yield from _json_rows(lines, path)
            elif kind in {".csv", ".tsv"}:
                yield from _table_rows(lines.readlines(), "\t" if kind == ".tsv" else ",", path)
            else:
                raise DataError(
                    f"{path}: captions are read from .csv, .tsv or .jsonl files (each may end in .gz), not "
                    f"{kind or 'a file without suffix'}."
                )
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: not readable to its end ({error}).") from error


def field(row: dict, names: tuple[str, ...]) -> Any:
    """The value of the first of ``names`` that a row has, or None."""
    return next((row[name] for name in names if name in row), None)


def _open_bytes(path: Path) -> IO[bytes]:
    """A file that may be gzipped, as its plain bytes."""
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    return path.open("rb")


def _json_rows(lines: io.TextIOWrapper, path: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            _refuse_document(line.strip() in {"{", "["} and number == 1, path)
            yield number, f"no JSON ({getattr(error, 'msg', 'nested too deeply')})"
            continue
        if isinstance(row, dict):
            _refuse_document("annotations" in row and "images" in row, path)
            yield number, row
        else:
            yield number, "no JSON object"


def _refuse_document(is_document: bool, path: Path) -> None:
    if is_document:
        raise DataError(
            f"{path} is one JSON document, and not a JSON object a line; COCO's own files are read by --data "
            "COCOCaptions, others must be rewritten."
        )


def _table_rows(lines: list[str], delimiter: str, path: Path) -> Iterator[Row]:
    header = _cells(lines[0], delimiter) if lines else []
    if header is None or not _names_columns(header):
        raise DataError(
            f"{path}: the first line must name the columns image and caption, or image and phrase; it says "
            f"{', '.join(header or []) or 'nothing'}{_other_delimiter(lines, delimiter)}."
        )
    records: Sequence[tuple[int, list[str] | None]] | None = None
    if delimiter == ",":
        records = _quoted_records(lines, header)
    if records is None:
        records = [(number, _cells(line, delimiter)) for number, line in enumerate(lines, 1) if line.strip()]
    for number, cells in records[1:]:
        if cells is None:
            yield number, "a quote that is not closed in its line"
        elif len(cells) != len(header):
            yield number, "too many or too few columns"
        else:
            yield number, dict(zip(header, cells, strict=True))


def _names_columns(header: Sequence[str]) -> bool:
    return bool(set(header) & set(IMAGE_COLUMNS)) and bool(set(header) & {*CAPTION_COLUMNS, PHRASE_COLUMN})


def _other_delimiter(lines: list[str], delimiter: str) -> str:
    """The way out for a table whose columns are separated otherwise."""
    for other, name in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if lines and other != delimiter and _names_columns(lines[0].strip().split(other)):
            return f" (its columns are separated by {name}: a .csv has commas, a .tsv has tabs)"
    return ""


def _cells(line: str, delimiter: str) -> list[str] | None:
    """The cells of a line by itself; None if a quote of a CSV is not closed in it. TSV has no quoting."""
    if delimiter == "\t":
        return line.rstrip("\r\n").split(delimiter)
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None


def _quoted_records(lines: list[str], header: list[str]) -> list[tuple[int, list[str]]] | None:
    """The records of a CSV whose quoted cells may go over several lines, by the number of their last line.

    Returns:
        None where the file is not well-formed throughout: a quote is left open, or what lies between two
        quotes holds a line that is a record of its own.
    """
    reader = csv.reader(lines, strict=True)
    records: list[tuple[int, list[str]]] = []
    end = 0
    try:
        for cells in reader:
            within = lines[end + 1 : reader.line_num]
            end = reader.line_num
            if any(_is_record(line, cells, header) for line in within):
                return None
            if cells:
                records.append((end, cells))
    except csv.Error:
        return None
    return records


def _is_record(line: str, record: list[str], header: list[str]) -> bool:
    """Whether a line within a record is one itself: it has all columns, and the name of an image."""
    cells = _cells(line, ",")
    column = next(number for number, name in enumerate(header) if name in IMAGE_COLUMNS)
    if cells is None or len(cells) != len(header) or len(record) <= column:
        return False
    suffix = PurePosixPath(cells[column]).suffix
    return suffix.lower() in IMAGE_SUFFIXES or suffix == PurePosixPath(record[column]).suffix
