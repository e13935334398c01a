"""Phrases of captions, computed once and kept in one SQLite file, so that training never waits for a
chunker.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from datamodules.batches import Phrase
from datamodules.chunkers.base import Chunker, phrase_text
from datamodules.errors import DataError

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunkers (id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS phrases (
    chunker INTEGER, caption BLOB, phrases TEXT NOT NULL, PRIMARY KEY (chunker, caption)
) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60.0  # how long another writer is waited for
# SQLite allows at least 999 parameters in a statement.
_KEYS_PER_QUERY = 500


class _Reader(NamedTuple):
    """A read-only connection, the process that opened it, and the row of the chunker's fingerprint."""

    process: int
    connection: sqlite3.Connection
    chunker_id: int


class PhraseCache:
    """Chunker results by (chunker fingerprint, SHA-1 of the caption).

    One process fills it; then any number of processes and data-loading workers read it, each over a
    connection of its own, opened at the first look-up. A cache may be pickled and may cross a fork. Results
    of several chunkers share a file without mixing.

    Args:
        path: path of the SQLite file; ``fill`` makes it and its folder.
        chunker: computes what is missing.

    Raises:
        DataError: from ``fill`` and ``lookup``, where the file is damaged or is something else.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from datamodules.chunkers import RuleChunker
        >>> temporary = TemporaryDirectory()
        >>> cache = PhraseCache(Path(temporary.name) / "phrases.sqlite", RuleChunker())
        >>> cache.fill(["a dog and a cat", "a red ball"], progress=False)
        2
        >>> [[phrase.text for phrase in phrases] for phrases in cache.lookup(["a red ball"])]
        [['a red ball']]
        >>> cache.close()
    """

    def __init__(self, path: Path | str, chunker: Chunker) -> None:
        self.path = Path(path)
        self.chunker = chunker
        self._warned = False
        self._local = threading.local()  # its attribute ``reader`` is this thread's _Reader

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def fill(self, captions: Iterable[str], batch_size: int = 4096, progress: bool = True) -> int:
        """Computes and stores the phrases of those captions that the file does not hold yet.

        Each batch is committed, so that an interrupted run goes on where it stopped.

        Args:
            captions: drawn ``batch_size`` at a time.
            batch_size: captions that are chunked together; smaller for a slow chunker.
            progress: whether a progress bar is shown.

        Returns:
            How many captions were computed.
        """
        if self._is_read_only():
            self._check_complete(captions, batch_size)
            return 0
        computed = 0
        total = len(captions) if isinstance(captions, Sized) else None
        description = f"phrases -> {self.path.name}"
        with self._readable_errors(), closing(self._open_writer()) as connection:
            chunker_id = _register(connection, self.chunker.fingerprint)
            with tqdm(total=total, desc=description, unit=" captions", disable=not progress) as bar:
                for batch in _batches(captions, batch_size):
                    computed += self._fill_batch(connection, chunker_id, batch)
                    bar.update(len(batch))
        return computed

    def _fill_batch(self, connection: sqlite3.Connection, chunker_id: int, batch: Sequence[str]) -> int:
        """Stores the phrases of the captions that are missing; returns their number."""
        missing = _missing(connection, chunker_id, batch)
        if not missing:
            return 0
        results = self.chunker(list(missing.values()))
        rows = [(chunker_id, key, _encode(phrases)) for key, phrases in zip(missing, results, strict=True)]
        with connection:
            connection.executemany("INSERT OR IGNORE INTO phrases VALUES (?, ?, ?)", rows)
        return len(rows)

    def _is_read_only(self) -> bool:
        """Whether the file is there, and SQLite could not write it or its journal beside it."""
        places = (self.path, self.path.parent)
        return self.path.exists() and not all(os.access(place, os.W_OK) for place in places)

    def _check_complete(self, captions: Iterable[str], batch_size: int) -> None:
        """Raises `DataError` if phrases are missing in a file that cannot be written."""
        with self._readable_errors():
            reader = self._open_reader()
            for batch in _batches(captions, batch_size):
                if reader is None or _missing(reader.connection, reader.chunker_id, batch):
                    raise DataError(
                        f"The phrase cache {self.path} cannot be written, and lacks phrases: name another "
                        "folder by --data.cache_dir."
                    )

    def lookup(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """The phrases of each caption.

        A caption that the file does not hold is chunked on the fly and not stored; the first time, a warning
        says so.

        Args:
            captions: those of one image.

        Returns:
            Phrases by caption; ``Phrase.caption`` is the caption's place in ``captions``.
        """
        keys = [_key(caption) for caption in captions]
        captions_by_key = dict(zip(keys, captions, strict=True))
        with self._readable_errors():
            reader = self._open_reader()
            phrases_by_key: dict[bytes, list[Phrase]] = {}
            if reader is not None:
                records = _select(reader.connection, reader.chunker_id, keys)
                for key, record in records.items():
                    phrases_by_key[key] = _decode(record, captions_by_key[key])
        missing = {key: caption for key, caption in captions_by_key.items() if key not in phrases_by_key}
        if missing:
            self._warn_once(next(iter(missing.values())))
            phrases_by_key.update(zip(missing, self.chunker(list(missing.values())), strict=True))
        rows = []
        for number, key in enumerate(keys):
            rows.append([replace(phrase, caption=number) for phrase in phrases_by_key[key]])
        return rows

    def close(self) -> None:
        """Closes this thread's connection; the next look-up opens another."""
        reader = self._own_reader()
        if reader is not None:
            reader.connection.close()
        self._local.reader = None

    def _own_reader(self) -> _Reader | None:
        """What this thread of this process opened.

        SQLite connections survive neither a fork nor a change of thread.
        """
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None or reader.process != os.getpid():
            return None
        return reader

    def _open_writer(self) -> sqlite3.Connection:
        """A connection that may write; the file and its tables are made where they are missing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        try:
            _check_tables(connection)
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> _Reader | None:
        """This thread's reader; None where the file holds nothing of this chunker.

        A file that cannot be written is opened as immutable: without locks, which read-only file systems may
        not have.
        """
        reader = self._own_reader()
        if reader is not None:
            return reader
        if not self.path.exists():
            return None
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        if self._is_read_only():
            uri += "&immutable=1"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)
        try:
            chunker_id = None
            if _check_tables(connection):
                chunker_id = _chunker_id(connection, self.chunker.fingerprint)
        except BaseException:
            connection.close()
            raise
        if chunker_id is None:
            connection.close()
            return None
        self._local.reader = _Reader(os.getpid(), connection, chunker_id)
        return self._local.reader

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Says in one sentence what SQLite complains about, and the way out."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DataError(
                f"The phrase cache {self.path} could not be used ({error}): "
                "see that the disk has room and nobody else writes it."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"The phrase cache {self.path} is damaged or is another file ({error}): "
                "delete it, and it will be filled anew."
            ) from error

    def _warn_once(self, caption: str) -> None:
        if not self._warned:
            log.warning(
                "Captions that are not in %s (such as %r) are chunked on the fly: "
                "fill the cache first to save time.",
                self.path,
                caption[:80],
            )
            self._warned = True


def _check_tables(connection: sqlite3.Connection) -> bool:
    """Whether the file holds the tables of a cache; it does not where it is empty.

    Another program's database is refused, lest tables be written into it.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not {"chunkers", "phrases"} <= tables:
        raise sqlite3.DatabaseError("its tables are not those of a phrase cache")
    return bool(tables)


def _key(caption: str) -> bytes:
    return hashlib.sha1(caption.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()


def _encode(phrases: Sequence[Phrase]) -> str:
    """The record of a caption: spans and subjects, for the text follows from the caption."""
    spans = [[phrase.start, phrase.end, phrase.subject] for phrase in phrases]
    return json.dumps(spans, separators=(",", ":"), ensure_ascii=False)


def _decode(record: str, caption: str) -> list[Phrase]:
    """The phrases of a record."""
    tokens = caption.split()
    try:
        return [
            Phrase(phrase_text(tokens, start, end), subject, start, end)
            for start, end, subject in json.loads(record)
        ]
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"the record of {caption[:80]!r} cannot be read") from error


def _register(connection: sqlite3.Connection, fingerprint: str) -> int:
    """The row of a chunker, which is added where it is missing."""
    with connection:
        connection.execute("INSERT OR IGNORE INTO chunkers (fingerprint) VALUES (?)", (fingerprint,))
    chunker_id = _chunker_id(connection, fingerprint)
    assert chunker_id is not None
    return chunker_id


def _chunker_id(connection: sqlite3.Connection, fingerprint: str) -> int | None:
    """The row of a chunker, or None."""
    query = "SELECT id FROM chunkers WHERE fingerprint = ?"
    row = connection.execute(query, (fingerprint,)).fetchone()
    return None if row is None else row[0]


def _select(connection: sqlite3.Connection, chunker_id: int, keys: Sequence[bytes]) -> dict[bytes, str]:
    """The records of those captions that the file holds, by key."""
    records: dict[bytes, str] = {}
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        some_keys = keys[first : first + _KEYS_PER_QUERY]
        marks = ",".join("?" * len(some_keys))
        query = f"SELECT caption, phrases FROM phrases WHERE chunker = ? AND caption IN ({marks})"
        records.update(connection.execute(query, (chunker_id, *some_keys)))
    return records


def _missing(connection: sqlite3.Connection, chunker_id: int, captions: Sequence[str]) -> dict[bytes, str]:
    """Those captions that the file does not hold, by key."""
    captions_by_key = {_key(caption): caption for caption in captions}
    stored = _select(connection, chunker_id, list(captions_by_key))
    return {key: caption for key, caption in captions_by_key.items() if key not in stored}


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of up to ``size`` items, drawn when they are asked for."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
