"""Annotations as Arrow files: written once, memory-mapped by every process, so that opening is instant and N
workers share one copy.

A row is usually an image, with list columns for what is known of it. A file remembers of which sources it was
made and is made anew when they change. It is written under another name and renamed, by one process while the
others wait: what bears the final name is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from tqdm import tqdm

from datamodules.errors import DataError

log = logging.getLogger(__name__)

FORMAT = 1  # of these files, whatever they hold
ROWS_PER_BATCH = 1024  # what is held in memory while a file is written
MADE_OF, BROKEN = b"weakground.made_of", b"weakground.broken"

Rows = Iterable[dict[str, Any] | pa.RecordBatch | str]


class ArrowIndex:
    """An index file, memory-mapped. Pickling sends its path, not its content; a fork shares it.

    Args:
        path: the file.
        made_of: what it must say that it is made of; None for anything.

    Attributes:
        broken: a line (name, tab, reason) for each record that was left out.

    Raises:
        DataError: the file is damaged, or is made of something else.
    """

    def __init__(self, path: Path, made_of: str | None = None) -> None:
        self.path = path
        try:
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            self.made_of = (file.schema.metadata or {})[MADE_OF].decode()
            *batches, (_, last) = [
                file.get_batch_with_custom_metadata(n) for n in range(file.num_record_batches)
            ]
            self.broken: list[str] = json.loads(last[BROKEN])
            self._batches = [batch for batch, _ in batches]
            for batch in self._batches:
                batch.validate()
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no sound index ({error}): delete it, and it will be built anew."
            ) from error
        if made_of not in {None, self.made_of}:
            raise DataError(
                f"{path} has been built anew from other files: start again, so that all processes read the same."
            )
        self.schema: pa.Schema = file.schema
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))
        self._readers: dict[tuple[int, str], Callable[[int], Any]] = {}

    def __reduce__(self) -> tuple:
        return ArrowIndex, (self.path, self.made_of)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def row(self, index: int) -> dict[str, Any]:
        """All columns of a row. Numbers and texts are Python's; a list of numbers is an array, a list of
        lists of n numbers an array (K,n).
        """
        return {name: self.value(index, name) for name in self.schema.names}

    def value(self, index: int, column: str) -> Any:
        """One column of a row, as in `row`. Raises IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        reader = self._readers.get((number, column))
        if reader is None:
            reader = self._readers[number, column] = _reader(self._batches[number].column(column))
        return reader(index - (self._ends[number - 1] if number else 0))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of all rows, not copied."""
        return pa.chunked_array(
            [batch.column(name) for batch in self._batches], type=self.schema.field(name).type
        )

    def count(self, name: str) -> int:
        """Entries of a list column in all rows together, from its offsets alone."""
        offsets = [batch.column(name).offsets for batch in self._batches if batch.num_rows]
        return sum(of_batch[-1].as_py() - of_batch[0].as_py() for of_batch in offsets)


def _reader(array: pa.Array) -> Callable[[int], Any]:
    """Function (row) -> its value. It reads the buffers, because `Array.__getitem__` makes an object for each
    scalar.
    """
    if array.null_count == 0:
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            offsets, cut = array.offsets.to_numpy(), _cutter(array.values)
            return lambda row: cut(offsets.item(row), offsets.item(row + 1))
        if _is_number(array.type):
            return array.to_numpy().item
        cut = _cutter(array)
        return lambda row: cut(row, row + 1)[0]
    return lambda row: array[row].as_py()


def _cutter(array: pa.Array) -> Callable[[int, int], Any]:
    """Function (start, end) -> those values of an array that comes straight from a file, where no array has
    an offset.
    """
    if array.null_count:
        return lambda start, end: array[start:end].to_pylist()
    if _is_number(array.type):
        numbers = array.to_numpy()
        return lambda start, end: numbers[start:end].copy()
    if (
        pa.types.is_fixed_size_list(array.type)
        and _is_number(array.type.value_type)
        and not array.values.null_count
    ):
        rows = array.values.to_numpy().reshape(-1, array.type.list_size)
        return lambda start, end: rows[start:end].copy()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        _, bounds, text = array.buffers()
        ends = np.frombuffer(
            bounds or b"\0" * 8, np.int64 if pa.types.is_large_string(array.type) else np.int32
        )
        data = memoryview(text or b"")

        def texts(start: int, end: int) -> list[str]:
            bounds = ends[start : end + 1]
            block = bytes(data[bounds[0] : bounds[-1]])
            places = pairwise((bounds - bounds[0]).tolist())
            if block.isascii():  # a byte is a character: decode once
                together = block.decode()
                return [together[first:last] for first, last in places]
            return [block[first:last].decode() for first, last in places]

        return texts
    return lambda start, end: array[start:end].to_pylist()


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def open_index(
    root: Path,
    name: str,
    sources: Sequence[Path],
    schema: pa.Schema,
    rows: Callable[[], Rows],
    version: int = 1,
    cache_dir: Path = Path(".cache"),
) -> ArrowIndex:
    """The index of a data set, built first if there is none or if it is out of date.

    It lies in ``<root>/.weakground/``; where that cannot be written and holds none that is up to date, in
    ``<cache_dir>/indexes/``.

    Args:
        root: folder of the data set.
        name: of the index within the data set; options that change its content belong into it.
        sources: files (or folders) that it is made of; it is built anew when the name, size or time of one
            changes.
        schema: of its columns.
        rows: reads the sources: an iterable of rows (dictionaries, or whole record batches), and of lines
            (name, tab, reason) for ``broken``.
        version: of ``rows``, to be raised whenever it gives something else for the same sources.
        cache_dir: of the datamodule.

    Raises:
        DataError: the index cannot be written, or the sources cannot be read.
    """
    try:
        made_of = _made_of(sources, schema, version)
    except OSError as error:
        raise DataError(f"{root.absolute()} cannot be indexed ({error}).") from error
    beside = root / ".weakground" / f"{name}.arrow"
    elsewhere = (
        cache_dir
        / "indexes"
        / f"{name}-{hashlib.sha1(str(root.resolve()).encode(), usedforsecurity=False).hexdigest()[:12]}.arrow"
    )
    for path in (beside, elsewhere):
        if index := _up_to_date(path, made_of):
            return index
    path = beside if os.access(beside.parent if beside.parent.exists() else root, os.W_OK) else elsewhere
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if index := _up_to_date(path, made_of):
                return index
            _write(path, schema.with_metadata({MADE_OF: made_of}), rows())
    except (OSError, pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(
            f"The index {path.absolute()} could not be built ({type(error).__name__}: {error})."
        ) from error
    return ArrowIndex(path, made_of)


def stream_json(path: Path, prefix: str) -> Iterator[Any]:
    """The values at ``prefix`` of a JSON file, one at a time, so that a large file is never held: ``item``
    for those of a list at the top, ``images.item`` for those of the list under the key ``images``.

    Raises:
        DataError: the file cannot be read to its end as JSON.
    """
    import ijson  # only who builds an index needs it

    try:
        with path.open("rb") as file:
            yield from ijson.items(file, prefix, use_float=True)
    except (OSError, ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise DataError(
            f"{path}: not readable to its end as JSON ({type(error).__name__}: {''.join(reason)}); get the file again."
        ) from error


def _made_of(sources: Sequence[Path], schema: pa.Schema, version: int) -> str:
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return json.dumps(
        {
            "format": FORMAT,
            "version": version,
            "columns": schema.to_string(show_schema_metadata=False),
            "sources": files,
        }
    )


def _up_to_date(path: Path, made_of: str) -> ArrowIndex | None:
    if not path.exists():
        return None
    try:
        return ArrowIndex(path, made_of)
    except DataError:
        return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process builds ``path``. The system itself gives the lock of a process back when
    that dies.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log.warning("Waiting for another process, which builds %s.", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, schema: pa.Schema, rows: Rows) -> None:
    broken: list[str] = []
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            with pa.ipc.new_file(file, schema) as writer:
                for batch in _batches(
                    tqdm(
                        rows, desc=f"building {path.name}", unit=" rows", leave=False, delay=2, mininterval=1
                    ),
                    schema,
                    broken,
                ):
                    writer.write_batch(batch)
                last = pa.RecordBatch.from_pylist([], schema=schema)
                writer.write_batch(last, custom_metadata={BROKEN: json.dumps(broken)})
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    log.info("Built %s.", path)


def _batches(rows: Rows, schema: pa.Schema, broken: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows as record batches, in their order; lines go to ``broken``."""
    pending: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, str):
            broken.append(row)
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
