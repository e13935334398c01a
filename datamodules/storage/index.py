"""The index of a data set: annotations as an Arrow file, built once and memory-mapped by every process.

A file remembers of which sources it was made, and is built anew when they change. One process builds it while
the others wait.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from datamodules.errors import DataError
from datamodules.storage.arrow_index import ArrowIndex
from datamodules.storage.index_writer import LeftOut, Rows, write_index

__all__ = ["ArrowIndex", "LeftOut", "Rows", "index_files", "open_index", "stream_json"]

log = logging.getLogger(__name__)

FORMAT = 3  # of index files, whatever they hold; to be raised whenever it changes
INDEX_FOLDER = ".weakground"  # within the folder of a data set
CACHE_FOLDER = "indexes"  # within the cache folder, for data sets whose own folders cannot be written


def open_index(
    root: Path,
    name: str,
    sources: Sequence[Path],
    schema: pa.Schema,
    rows: Callable[[], Rows],
    version: int = 1,
    cache_dir: Path = Path(".cache"),
) -> ArrowIndex:
    """Opens the index of a data set, which is built first if there is none or if it is out of date.

    It lies in ``<root>/.weakground/``; where that cannot be written and holds none that is up to date, in
    ``<cache_dir>/indexes/``.

    Args:
        root: folder of the data set.
        name: name of the index within the data set; options that change its content belong into it.
        sources: files (or folders) that it is made of; it is built anew when the name, size or time of one
            changes.
        schema: names and types of its columns.
        rows: reads the sources: an iterable of rows (dictionaries, or whole record batches), and of lines
            (name, tab, reason) for ``broken``.
        version: version of ``rows``, to be raised whenever it gives something else for the same sources.
        cache_dir: cache folder of the datamodule.

    Returns:
        The open index.

    Raises:
        DataError: the index cannot be written, or the sources cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> temporary = TemporaryDirectory()
        >>> folder = Path(temporary.name)
        >>> source = folder / "names.txt"
        >>> _ = source.write_text("ann bob")
        >>> names = lambda: [{"name": name} for name in source.read_text().split()]
        >>> index = open_index(folder, "names", [source], pa.schema([("name", pa.string())]), names)
        >>> len(index), index.row(1)
        (2, {'name': 'bob'})
    """
    try:
        made_of = _describe_sources(sources, schema, version)
    except OSError as error:
        raise DataError(f"{root.absolute()} cannot be indexed ({error}).") from error
    beside = root / INDEX_FOLDER / f"{name}.arrow"
    elsewhere = cache_dir / CACHE_FOLDER / f"{name}-{_fingerprint(root)}.arrow"
    for path in (beside, elsewhere):
        index = _up_to_date(path, made_of)
        if index is not None:
            return index
    return _build(beside if _is_writable(beside.parent) else elsewhere, made_of, schema, rows)


def index_files(root: Path, cache_dir: Path = Path(".cache")) -> list[Path]:
    """The index files of a data set: of its folder, and of the folders directly within it.

    Args:
        root: folder of the data set, which need not exist.
        cache_dir: cache folder of the datamodule.

    Returns:
        Paths of files, whether up to date or not.
    """
    files: list[Path] = []
    for folder in (root, *sorted(root.glob("*/"))):
        files += sorted((folder / INDEX_FOLDER).glob("*.arrow"))
        files += sorted((cache_dir / CACHE_FOLDER).glob(f"*-{_fingerprint(folder)}.arrow"))
    return files


def stream_json(path: Path, prefix: str) -> Iterator[Any]:
    """Reads the values at one place of a JSON file, one at a time, so that a large file is never in memory.

    Args:
        path: path of the file.
        prefix: the place: ``item`` for the values of a list at the top, ``images.item`` for those of the list
            under the key ``images``.

    Raises:
        DataError: the file cannot be read to its end as JSON.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> temporary = TemporaryDirectory()
        >>> path = Path(temporary.name) / "instances.json"
        >>> _ = path.write_text('{"images": [{"id": 1}, {"id": 2}]}')
        >>> [image["id"] for image in stream_json(path, "images.item")]
        [1, 2]
    """
    import ijson  # needed only where an index is built

    try:
        with path.open("rb") as file:
            yield from ijson.items(file, prefix, use_float=True)
    except (OSError, ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{path}: not readable to its end as JSON ({type(error).__name__}: {reason}); get the file again."
        ) from error


def _build(path: Path, made_of: str, schema: pa.Schema, rows: Callable[[], Rows]) -> ArrowIndex:
    """Writes an index, unless another process does so meanwhile, and opens it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            index = _up_to_date(path, made_of)
            if index is not None:
                return index
            write_index(path, schema, made_of, rows())
    except (OSError, pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DataError(
            f"The index {path.absolute()} could not be built ({type(error).__name__}: {error}); the next "
            "start tries again."
        ) from error
    return ArrowIndex(path, made_of)


def _describe_sources(sources: Sequence[Path], schema: pa.Schema, version: int) -> str:
    """What an index is made of: another text means that it must be built anew."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": version,
            "columns": schema.to_string(show_schema_metadata=False),
            "sources": [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources],
        }
    )


def _fingerprint(root: Path) -> str:
    """Tells data sets apart whose indexes lie in one folder."""
    return hashlib.sha1(str(root.resolve()).encode(), usedforsecurity=False).hexdigest()[:12]


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not exist yet."""
    if not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _up_to_date(path: Path, made_of: str) -> ArrowIndex | None:
    """The index at ``path``, or None where there is none that is sound and made of the same sources."""
    if not path.exists():
        return None
    try:
        return ArrowIndex(path, made_of)
    except DataError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until no other process builds ``path``.

    The operating system releases the lock of a process that dies.
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
