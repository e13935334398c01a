"""Writing an index file: whole or not at all."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm

from datamodules.storage.arrow_index import BROKEN, CHECKSUM, LEFT_OUT, MADE_OF
from datamodules.storage.index_checksum import PLACEHOLDER, seal

log = logging.getLogger(__name__)

ROWS_PER_BATCH = 1024  # what is held in memory while a file is written


class LeftOut(NamedTuple):
    """A number of records that are sound, but of no use, and the reason."""

    reason: str
    number: int = 1


# A row of an index, several rows at once, a line (name, tab, reason) about a record that is broken, or a
# number of records that are left out.
Rows = Iterable[dict[str, Any] | pa.RecordBatch | str | LeftOut]


def write_index(path: Path, schema: pa.Schema, made_of: str, rows: Rows) -> None:
    """Writes an index under another name and renames it, so that a file of the final name is complete.

    Args:
        path: path of the file.
        schema: names and types of the columns.
        made_of: description of its sources.
        rows: its content.

    Raises:
        OSError: the file cannot be written.
        pa.ArrowException: a row does not fit the schema.
    """
    unfinished = path.with_suffix(".unfinished")
    schema = schema.with_metadata({MADE_OF: made_of})
    progress = tqdm(rows, desc=f"building {path.name}", unit=" rows", leave=False, delay=2, mininterval=1)
    broken: list[str] = []
    left_out: Counter[str] = Counter()
    try:
        with unfinished.open("w+b") as file:
            with pa.ipc.new_file(file, schema) as writer:
                for batch in _record_batches(progress, schema, broken, left_out):
                    writer.write_batch(batch)
                metadata = {
                    BROKEN: json.dumps(broken),
                    LEFT_OUT: json.dumps(left_out),
                    CHECKSUM: PLACEHOLDER,
                }
                writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema), custom_metadata=metadata)
            file.flush()
            seal(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    log.info("Built %s.", path)


def _record_batches(
    rows: Rows, schema: pa.Schema, broken: list[str], left_out: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """Rows as record batches, in their order; lines are appended to ``broken``, the rest is counted."""
    pending: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, str):
            broken.append(row)
            continue
        if isinstance(row, LeftOut):
            left_out[row.reason] += row.number
            continue
        if isinstance(row, dict):
            pending.append(row)
        if pending and (len(pending) == ROWS_PER_BATCH or not isinstance(row, dict)):
            yield pa.RecordBatch.from_pylist(pending, schema=schema)
            pending.clear()
        if not isinstance(row, dict):
            yield row
    if pending:
        yield pa.RecordBatch.from_pylist(pending, schema=schema)
