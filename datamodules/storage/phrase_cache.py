"""Phrases of captions, computed once and kept in one SQLite file, so that training never waits for a chunker."""

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
from typing import Any

from tqdm import tqdm

from datamodules.batches import Phrase
from datamodules.chunkers.base import Chunker, phrase_text
from datamodules.errors import DataError

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunkers (id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS phrases (chunker INTEGER, caption BLOB, phrases TEXT NOT NULL, PRIMARY KEY (chunker, caption)) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60.0
# SQLite allows at least 999 parameters in a statement.
_KEYS_PER_QUERY = 500


class PhraseCache:
    """Chunker results by (chunker fingerprint, SHA-1 of the caption).

    One process fills it; then any number of processes and data-loading workers read it, each over a
    connection of its own, opened at the first look-up. A cache may be pickled and may cross a fork. Results
    of several chunkers share a file without mixing.

    Args:
        path: the SQLite file; it and its folder are made by ``fill``.
        chunker: computes what is missing.

    Raises:
        DataError: from ``fill`` and ``lookup``, where the file is damaged or is something else.
    """

    def __init__(self, path: Path | str, chunker: Chunker) -> None:
        self.path = Path(path)
        self.chunker = chunker
        self._warned = False
        self._local = threading.local()  # .reader: process, connection, row of the chunker's fingerprint

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def fill(self, captions: Iterable[str], batch_size: int = 4096, progress: bool = True) -> int:
        """Computes and stores the phrases of the captions that the file does not hold yet; returns their
        number.

        Captions are drawn ``batch_size`` at a time, and each batch is committed, so an interrupted run goes
        on where it stopped. A slow chunker wants a smaller batch.
        """
        computed = 0
        with self._explained(), closing(self._open_writer()) as connection:
            chunker_id = _register(connection, self.chunker.fingerprint)
            total = len(captions) if isinstance(captions, Sized) else None
            with tqdm(
                total=total, desc=f"phrases -> {self.path.name}", unit=" captions", disable=not progress
            ) as bar:
                for batch in _batches(captions, batch_size):
                    caption_of = {_key(caption): caption for caption in batch}
                    known = _select(connection, chunker_id, list(caption_of))
                    missing = {key: caption for key, caption in caption_of.items() if key not in known}
                    results = self.chunker(list(missing.values())) if missing else []
                    rows = [
                        (chunker_id, key, _encode(phrases))
                        for key, phrases in zip(missing, results, strict=True)
                    ]
                    with connection:
                        connection.executemany("INSERT OR IGNORE INTO phrases VALUES (?, ?, ?)", rows)
                    computed += len(rows)
                    bar.update(len(batch))
        return computed

    def lookup(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """Phrases of each caption; ``Phrase.caption`` is the caption's place in ``captions``, which are those
        of one image.

        A caption that the file does not hold is chunked on the fly and not stored; the first time, a warning
        says so.
        """
        keys = [_key(caption) for caption in captions]
        with self._explained():
            reader = self._open_reader()
            known = _select(*reader, keys) if reader else {}
            found = {
                key: _decode(known[key], caption)
                for key, caption in zip(keys, captions, strict=True)
                if key in known
            }
        missing = {key: caption for key, caption in zip(keys, captions, strict=True) if key not in found}
        if missing:
            self._warn(next(iter(missing.values())))
            found.update(zip(missing, self.chunker(list(missing.values())), strict=True))
        return [[replace(phrase, caption=i) for phrase in found[key]] for i, key in enumerate(keys)]

    def close(self) -> None:
        """Closes this thread's connection; the next look-up opens another."""
        if reader := self._own_reader():
            reader[0].close()
        self._local.reader = None

    def _own_reader(self) -> tuple[sqlite3.Connection, int] | None:
        """What this thread of this process opened: SQLite connections survive neither a fork nor a change of
        thread.
        """
        pid, *reader = getattr(self._local, "reader", None) or (None,)
        return (reader[0], reader[1]) if pid == os.getpid() else None

    def _open_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS)
        try:
            _check_tables(connection)
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_reader(self) -> tuple[sqlite3.Connection, int] | None:
        """A read-only connection and the chunker's row, or None where the file holds nothing of this chunker.

        A file that cannot be written is opened as immutable: no locks, which read-only file systems may not
            have.
        """
        if reader := self._own_reader():
            return reader
        if not self.path.exists():
            return None
        immutable = (
            "" if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK) else "&immutable=1"
        )
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro{immutable}", uri=True, timeout=_BUSY_SECONDS
        )
        try:
            row = None
            if _check_tables(connection):
                row = connection.execute(
                    "SELECT id FROM chunkers WHERE fingerprint = ?", (self.chunker.fingerprint,)
                ).fetchone()
        except BaseException:
            connection.close()
            raise
        if row is None:
            connection.close()
            return None
        self._local.reader = (os.getpid(), connection, row[0])
        return connection, row[0]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DataError(
                f"The phrase cache {self.path} could not be used ({error}): see that the disk has room and nobody else writes it."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"The phrase cache {self.path} is damaged or is another file ({error}): delete it, and it will be filled anew."
            ) from error

    def _warn(self, caption: str) -> None:
        if not self._warned:
            log.warning(
                "Captions that are not in %s (such as %r) are chunked on the fly: fill the cache first to save time.",
                self.path,
                caption[:80],
            )
            self._warned = True


def _check_tables(connection: sqlite3.Connection) -> bool:
    """False for an empty file. Another program's database is refused, lest our tables be written into it."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not {"chunkers", "phrases"} <= tables:
        raise sqlite3.DatabaseError("its tables are not those of a phrase cache")
    return bool(tables)


def _key(caption: str) -> bytes:
    return hashlib.sha1(caption.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()


def _encode(phrases: Sequence[Phrase]) -> str:
    """Spans and subjects; the text follows from the caption."""
    return json.dumps(
        [[phrase.start, phrase.end, phrase.subject] for phrase in phrases],
        separators=(",", ":"),
        ensure_ascii=False,
    )


def _decode(record: str, caption: str) -> list[Phrase]:
    tokens = caption.split()
    try:
        return [
            Phrase(phrase_text(tokens, start, end), subject, start, end)
            for start, end, subject in json.loads(record)
        ]
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"the record of {caption[:80]!r} cannot be read") from error


def _register(connection: sqlite3.Connection, fingerprint: str) -> int:
    with connection:
        connection.execute("INSERT OR IGNORE INTO chunkers (fingerprint) VALUES (?)", (fingerprint,))
    return connection.execute("SELECT id FROM chunkers WHERE fingerprint = ?", (fingerprint,)).fetchone()[0]


def _select(connection: sqlite3.Connection, chunker_id: int, keys: Sequence[bytes]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[first : first + _KEYS_PER_QUERY]
        marks = ",".join("?" * len(some))
        found.update(
            connection.execute(
                f"SELECT caption, phrases FROM phrases WHERE chunker = ? AND caption IN ({marks})",
                (chunker_id, *some),
            )
        )
    return found


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
