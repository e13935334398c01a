"""A phrase cache gives what its chunker gives, to any number of processes, and names a file that is none."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datamodules.batches import Phrase
from datamodules.chunkers import Chunker, RuleChunker
from datamodules.errors import DataError
from datamodules.storage.phrase_cache import PhraseCache

CAPTIONS = ["A small dog runs .", "Two men and a group of girls", "", 'A café, "a cat".']


class Counting(Chunker):
    """The rules, with a name of its own and a record of what was asked for."""

    def __init__(self, name: str = "counting") -> None:
        self.name = name
        self.asked: list[str] = []

    @property
    def fingerprint(self) -> str:
        return self.name

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        self.asked += captions
        return RuleChunker()(captions)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "not" / "yet" / "there" / "phrases.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    PhraseCache(path, Counting()).fill(CAPTIONS, progress=False)
    return path


def test_a_look_up_gives_what_the_chunker_gives(filled: Path) -> None:
    chunker = Counting()
    rows = PhraseCache(filled, chunker).lookup(CAPTIONS)
    assert chunker.asked == []
    for i, (row, direct) in enumerate(zip(rows, RuleChunker()(CAPTIONS), strict=True)):
        assert row == [Phrase(p.text, p.subject, p.start, p.end, caption=i) for p in direct]
    assert [len(row) for row in rows] == [1, 3 - 1, 0, 2]


def test_the_caption_index_is_the_place_in_the_given_sequence(filled: Path) -> None:
    cache = PhraseCache(filled, Counting())
    rows = cache.lookup([CAPTIONS[1], CAPTIONS[0], CAPTIONS[0]])
    assert [{phrase.caption for phrase in row} for row in rows] == [{0}, {1}, {2}]
    assert cache.lookup([]) == []


def test_only_what_is_missing_is_computed(filled: Path) -> None:
    chunker = Counting()
    assert PhraseCache(filled, chunker).fill([*CAPTIONS, "A new bus", "A new bus"], progress=False) == 1
    assert chunker.asked == ["A new bus"]


def test_an_interrupted_run_goes_on_where_it_stopped(path: Path) -> None:
    def interrupted() -> Iterator[str]:
        yield from (f"A dog and {i} cats" for i in range(25))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PhraseCache(path, Counting()).fill(interrupted(), batch_size=10, progress=False)
    chunker = Counting()
    assert (
        PhraseCache(path, chunker).fill(
            (f"A dog and {i} cats" for i in range(30)), batch_size=10, progress=False
        )
        == 10
    )
    assert chunker.asked == [f"A dog and {i} cats" for i in range(20, 30)]


def test_captions_are_drawn_one_batch_at_a_time(path: Path) -> None:
    drawn = 0

    class Watching(Counting):
        def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
            assert drawn - len(self.asked) <= 7
            return super().__call__(captions)

    def captions() -> Iterator[str]:
        nonlocal drawn
        for drawn in range(1, 51):
            yield f"A dog and {drawn} cats"

    assert PhraseCache(path, Watching()).fill(captions(), batch_size=7, progress=False) == 50


def test_chunkers_do_not_mix_in_one_file(filled: Path) -> None:
    other = Counting("another")
    assert PhraseCache(filled, other).fill(CAPTIONS, progress=False) == len(CAPTIONS)
    assert other.asked == CAPTIONS


def test_what_is_not_in_the_file_is_chunked_on_the_fly(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chunker = Counting()
    cache = PhraseCache(path, chunker)
    with caplog.at_level(logging.WARNING):
        rows = cache.lookup(["A dog", "A cat"])
        cache.lookup(["A bus"])
    assert [[(p.text, p.caption) for p in row] for row in rows] == [[("A dog", 0)], [("A cat", 1)]]
    assert not path.exists()  # reading writes nothing
    assert len(caplog.records) == 1
    assert "fill the cache first" in caplog.text
    cache.fill(["A dog"], progress=False)
    chunker.asked.clear()
    assert [row[0].text for row in cache.lookup(["A dog", "A cat"])] == ["A dog", "A cat"]
    assert chunker.asked == ["A cat"]


def test_a_look_up_of_more_captions_than_one_query_holds(path: Path) -> None:
    captions = [f"A dog and {i} cats" for i in range(1201)]
    chunker = Counting()
    cache = PhraseCache(path, chunker)
    assert cache.fill(captions, progress=False) == 1201
    chunker.asked.clear()
    assert [row[1].text for row in cache.lookup(captions)] == [f"{i} cats" for i in range(1201)]
    assert chunker.asked == []


def test_a_cache_may_be_pickled_after_use(filled: Path) -> None:
    cache = PhraseCache(filled, Counting())
    before = cache.lookup(CAPTIONS)
    assert pickle.loads(pickle.dumps(cache)).lookup(CAPTIONS) == before


def _look_up(cache: PhraseCache, results) -> None:
    results.put((os.getpid(), cache.lookup(CAPTIONS), cache.chunker.asked))


def test_forked_workers_open_their_own_connection(filled: Path) -> None:
    context = multiprocessing.get_context("fork")
    cache = PhraseCache(filled, Counting())
    expected = cache.lookup(CAPTIONS)  # the connection is open when the process forks
    results = context.Queue()
    workers = [context.Process(target=_look_up, args=(cache, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({pid for pid, _, _ in answers} | {os.getpid()}) == 3
    assert all(rows == expected and asked == [] for _, rows, asked in answers)
    assert cache.lookup(CAPTIONS) == expected


def test_threads_may_share_a_cache(filled: Path) -> None:
    cache = PhraseCache(filled, Counting())
    expected = cache.lookup(CAPTIONS)
    gate = threading.Barrier(4)

    def look_up(_: int) -> bool:
        gate.wait()
        return all(cache.lookup(CAPTIONS) == expected for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look_up, range(4)))


def test_a_read_only_file_is_opened_without_locks(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    connect = sqlite3.connect

    def spy(target: str, **options):
        opened.append(target)
        return connect(target, **options)

    monkeypatch.setattr(sqlite3, "connect", spy)
    writable = PhraseCache(filled, Counting()).lookup(CAPTIONS)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert PhraseCache(filled, Counting()).lookup(CAPTIONS) == writable
    assert [target.partition("?")[2] for target in opened] == ["mode=ro", "mode=ro&immutable=1"]


def test_a_full_cache_on_a_read_only_disk_is_as_good(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: PhraseCache) -> sqlite3.Connection:
        raise AssertionError("nothing may be written")

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(PhraseCache, "_open_writer", never)
    cache = PhraseCache(filled, Counting())
    assert cache.fill(CAPTIONS, progress=False) == 0
    for captions, name in ((["A new bus"], "counting"), (CAPTIONS, "another")):
        with pytest.raises(
            DataError, match=r"phrases\.sqlite cannot be written, and lacks .*--data\.cache_dir"
        ):
            PhraseCache(filled, Counting(name)).fill(captions, progress=False)


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    cache = PhraseCache(tmp_path / "a b?#%20é" / "phrases.sqlite", Counting())
    assert cache.fill(["A dog"], progress=False) == 1
    assert cache.lookup(["A dog"])[0][0].subject == "dog"


@pytest.mark.parametrize("action", ["fill", "lookup"])
@pytest.mark.parametrize("damage", ["text", "middle", "foreign"])
def test_a_file_that_is_no_cache_is_named(filled: Path, damage: str, action: str) -> None:
    if damage == "text":
        filled.write_text("this is not a database, and is long enough to be read as a header of one " * 3)
    elif damage == "middle":
        content = bytearray(filled.read_bytes())
        content[100:] = b"\xff" * (len(content) - 100)
        filled.write_bytes(content)
    else:
        filled.unlink()
        with sqlite3.connect(filled) as connection:
            connection.execute("CREATE TABLE music (title TEXT)")
    cache = PhraseCache(filled, Counting())
    with pytest.raises(DataError, match=r"phrases\.sqlite is damaged or is another file .*delete it"):
        cache.fill(CAPTIONS, progress=False) if action == "fill" else cache.lookup(CAPTIONS)


def test_a_damaged_record_is_named(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE phrases SET phrases = 'oops'")
    with pytest.raises(DataError, match=r"phrases\.sqlite is damaged .*A small dog runs"):
        PhraseCache(filled, Counting()).lookup(CAPTIONS)


def test_closing_is_no_farewell(filled: Path) -> None:
    cache = PhraseCache(filled, Counting())
    cache.close()
    before = cache.lookup(CAPTIONS)
    cache.close()
    assert cache.lookup(CAPTIONS) == before
    assert cache.chunker.asked == []


def test_an_error_of_the_chunker_is_not_blamed_on_the_file(path: Path) -> None:
    class Failing(Counting):
        def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
            raise ValueError("the chunker's own")

    with pytest.raises(ValueError, match="the chunker's own"):
        PhraseCache(path, Failing()).fill(["A dog"], progress=False)


def test_a_locked_file_is_not_called_damaged(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.storage.phrase_cache._BUSY_SECONDS", 0.05)
    with sqlite3.connect(filled, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataError, match=r"could not be used .*locked"):
            PhraseCache(filled, Counting()).fill(["A new bus"], progress=False)
        holder.execute("ROLLBACK")
    assert PhraseCache(filled, Counting()).fill(["A new bus"], progress=False) == 1
