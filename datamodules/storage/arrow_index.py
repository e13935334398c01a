"""Reading an index file: rows of annotations in Arrow's file format, memory-mapped, so that opening is
instant and all processes share one copy.

A row is usually an image, with list columns for its boxes, captions and the like.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.errors import DataError

# Keys of the metadata: of the schema, and of the last record batch, which holds no rows.
MADE_OF = b"weakground.made_of"
BROKEN = b"weakground.broken"
LEFT_OUT = b"weakground.left_out"
CHECKSUM = b"weakground.sha256"

RangeReader = Callable[[int, int], Any]  # (first row, row after the last) -> values


class ArrowIndex:
    """An index file, memory-mapped. Pickling sends its path, not its content; a fork shares it.

    Args:
        path: path of the file.
        made_of: the description of its sources that the file must hold; None accepts any.

    Attributes:
        broken: a line (name, tab, reason) for each record of the sources that cannot be used.
        left_out: by reason, how many more records of the sources were left out, which are sound.
        checksum: the SHA-256 that was written into the file, in hexadecimal; opening does not check it, see
            `datamodules.storage.index_checksum`.
        schema: names and types of the columns.

    Raises:
        DataError: the file is damaged, or is made of other sources.
    """

    def __init__(self, path: Path, made_of: str | None = None) -> None:
        self.path = path
        try:
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            self.schema: pa.Schema = file.schema
            self.made_of = file.schema.metadata[MADE_OF].decode()
            batches = [file.get_batch_with_custom_metadata(n) for n in range(file.num_record_batches)]
            _, metadata = batches.pop()
            self.broken: list[str] = json.loads(metadata[BROKEN])
            self.left_out: dict[str, int] = json.loads(metadata[LEFT_OUT])
            self.checksum: bytes = metadata[CHECKSUM]
            self._batches: list[pa.RecordBatch] = [batch for batch, _ in batches]
            for batch in self._batches:
                batch.validate()
        except (OSError, pa.ArrowException, ValueError, LookupError, TypeError) as error:
            raise DataError(
                f"{path} is no sound index ({error}): delete it, and it will be built anew."
            ) from error
        if made_of not in {None, self.made_of}:
            raise DataError(
                f"{path} has been built anew from other files: "
                "start again, so that all processes read the same."
            )
        # Numbers of rows before each batch, and of all together.
        self._starts = [0, *accumulate(batch.num_rows for batch in self._batches)]
        self._readers: dict[tuple[int, str], Callable[[int], Any]] = {}

    def __reduce__(self) -> tuple:
        return ArrowIndex, (self.path, self.made_of)

    def __len__(self) -> int:
        return self._starts[-1]

    def row(self, index: int) -> dict[str, Any]:
        """All columns of a row.

        Args:
            index: number of the row, from 0.

        Returns:
            Values by column. Numbers and texts are Python's own; a list of numbers is an array, a list of
            lists of n numbers an array (K,n).

        Raises:
            IndexError: there is no such row.
        """
        return {name: self.value(index, name) for name in self.schema.names}

    def value(self, index: int, column: str) -> Any:
        """One column of a row, as in `row`.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect_right(self._starts, index) - 1
        if (number, column) not in self._readers:
            self._readers[number, column] = _row_reader(self._batches[number].column(column))
        return self._readers[number, column](index - self._starts[number])

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of all rows, not copied."""
        chunks = [batch.column(name) for batch in self._batches]
        return pa.chunked_array(chunks, type=self.schema.field(name).type)

    def count(self, name: str) -> int:
        """Number of entries of a list column in all rows together, from its offsets alone."""
        offsets = [batch.column(name).offsets for batch in self._batches if batch.num_rows]
        return sum(ends[-1].as_py() - ends[0].as_py() for ends in offsets)


def _row_reader(array: pa.Array) -> Callable[[int], Any]:
    """Function (row) -> its value.

    It reads the buffers of the array, because `Array.__getitem__` makes an object for each scalar.
    """
    if array.null_count:
        return lambda row: array[row].as_py()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        offsets = array.offsets.to_numpy()
        read_range = _range_reader(array.values)
        return lambda row: read_range(offsets.item(row), offsets.item(row + 1))
    if _is_number(array.type):
        return array.to_numpy().item
    read_range = _range_reader(array)
    return lambda row: read_range(row, row + 1)[0]


def _range_reader(array: pa.Array) -> RangeReader:
    """Function (start, end) -> those values of an array.

    The array must come straight from a file, where no array has an offset.
    """
    if array.null_count:
        return lambda start, end: array[start:end].to_pylist()
    if _is_number(array.type):
        numbers = array.to_numpy()
        return lambda start, end: numbers[start:end].copy()
    if _holds_vectors(array):
        vectors = array.values.to_numpy().reshape(-1, array.type.list_size)
        return lambda start, end: vectors[start:end].copy()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _text_reader(array)
    return lambda start, end: array[start:end].to_pylist()


def _text_reader(array: pa.StringArray) -> RangeReader:
    """As `_range_reader`, for texts."""
    _, offset_buffer, text_buffer = array.buffers()
    kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    offsets = np.frombuffer(offset_buffer or bytes(8), kind)
    content = memoryview(text_buffer or b"")

    def read_range(start: int, end: int) -> list[str]:
        bounds = offsets[start : end + 1]
        block = bytes(content[bounds[0] : bounds[-1]])
        spans = pairwise((bounds - bounds[0]).tolist())
        if block.isascii():  # a byte is a character: decode once
            text = block.decode()
            return [text[first:last] for first, last in spans]
        return [block[first:last].decode() for first, last in spans]

    return read_range


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _holds_vectors(array: pa.Array) -> bool:
    """Whether every value is a list of the same number of numbers, such as a box."""
    kind = array.type
    return pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type) and not array.values.null_count
