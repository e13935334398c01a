"""An index is built once, by one process, whole or not at all; it gives back what went in, and only its path
travels to workers.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datamodules.errors import DataError
from datamodules.storage import index as index_module
from datamodules.storage import index_writer
from datamodules.storage.index import ArrowIndex, index_files, open_index

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("note", pa.string()),
        ("share", pa.float64()),
        ("flag", pa.bool_()),
        ("phrases", pa.list_(pa.string())),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("ids", pa.list_(pa.int64())),
        ("mask", pa.binary()),
        ("polygons", pa.list_(pa.list_(pa.float32()))),
    ]
)


def record(n: int) -> dict[str, Any]:
    return {
        "id": n,
        "name": f"名 {n}",
        "note": None if n % 2 else "even",
        "share": n / 8,
        "flag": n % 3 == 0,
        "phrases": [f"phrase é {k}" for k in range(n % 4)],
        "boxes": [[k, n, k + 2, n + 2.5] for k in range(n % 4)],
        "ids": list(range(n % 3)),
        "mask": bytes([n % 256, 0]),
        "polygons": [[0.0, 1.0, float(n)]] * (n % 2),
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "set" / "annotations.json"
    path.parent.mkdir()
    path.write_text("1")
    return path


def build(source: Path, rows: Any = None, **options: Any) -> ArrowIndex:
    """An index of given rows, or of what a function gives; of five records by default."""
    if rows is None:
        rows = map(record, range(5))
    read = rows if callable(rows) else lambda: rows
    return open_index(source.parent, "all", [source], SCHEMA, read, **options)


def never() -> Iterator[dict]:
    raise AssertionError("this index was to be opened, not built")
    yield {}


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("rows_per_batch", [1, 3, 100])
def test_rows_come_back_as_they_went_in(
    rows_per_batch: int, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_writer, "ROWS_PER_BATCH", rows_per_batch)
    index = build(source, map(record, range(11)))
    assert len(index) == 11
    for n in [7, *range(11), 0]:
        assert {name: plain(value) for name, value in index.row(n).items()} == record(n)
        assert index.row(n)["boxes"].shape == (n % 4, 4)
        assert index.row(n)["boxes"].dtype == np.float32
    assert index.column("id").to_pylist() == list(range(11))
    assert index.count("phrases") == index.count("boxes") == sum(n % 4 for n in range(11))
    assert index.value(4, "name") == "名 4"
    for outside in (-1, 11):
        with pytest.raises(IndexError):
            index.row(outside)


def test_an_array_of_a_row_may_be_written_to(source: Path) -> None:
    index = build(source)
    index.row(3)["boxes"][:] = -1
    assert index.row(3)["boxes"].min() >= 0


def test_record_batches_and_broken_lines_keep_their_order(source: Path) -> None:
    batch = pa.RecordBatch.from_pylist([record(1), record(2)], schema=SCHEMA)
    index = build(source, [record(0), "a\tno boxes", batch, record(3), "b\tno image"])
    assert index.column("id").to_pylist() == [0, 1, 2, 3]
    assert index.broken == ["a\tno boxes", "b\tno image"]
    assert pickle.loads(pickle.dumps(index)).broken == index.broken


@pytest.mark.parametrize("rows", [[], ["a\tempty"]])
def test_an_empty_index(rows: list[str], source: Path) -> None:
    index = build(source, rows)
    assert (len(index), index.count("phrases"), index.broken) == (0, 0, rows)
    assert index.column("id").to_pylist() == []
    with pytest.raises(IndexError):
        index.row(0)


def test_built_once(source: Path) -> None:
    build(source)
    assert len(build(source, never)) == 5


@pytest.mark.parametrize("change", ["size", "time", "name", "version", "schema"])
def test_built_anew_when_something_changes(change: str, source: Path) -> None:
    kept = build(source)
    version = 1
    schema = SCHEMA
    if change == "size":
        before = source.stat()
        source.write_text("12")
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(source, ns=(0, 12345))
    elif change == "name":
        source = source.rename(source.with_name("other.json"))
    elif change == "version":
        version = 2
    else:
        schema = SCHEMA.append(pa.field("more", pa.int8()))
    index = open_index(source.parent, "all", [source], schema, lambda: [record(9)], version)
    assert index.column("id").to_pylist() == [9]
    assert kept.column("id").to_pylist() == [0, 1, 2, 3, 4]  # whoever has the former open goes on reading it
    with pytest.raises(DataError, match="built anew from other files"):
        pickle.loads(pickle.dumps(kept))


def test_a_moved_data_set_keeps_its_index(source: Path) -> None:
    build(source)
    moved = source.parent.rename(source.parent.with_name("moved"))
    assert len(build(moved / source.name, never)) == 5


def test_pickling_sends_the_path(source: Path) -> None:
    index = build(source, map(record, range(2000)))
    sent = pickle.dumps(index)
    assert len(sent) < 2000
    assert pickle.loads(sent).row(1234)["id"] == 1234


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, DataError])
def test_an_interrupted_build_leaves_nothing(interruption: type[BaseException], source: Path) -> None:
    def torn() -> Iterator[dict]:
        yield record(0)
        raise interruption("torn")

    with pytest.raises(interruption):
        build(source, torn)
    assert [path.name for path in (source.parent / ".weakground").iterdir() if path.suffix != ".lock"] == []
    assert len(build(source)) == 5


def test_an_interrupted_build_leaves_the_former_file(source: Path) -> None:
    kept = build(source)
    os.utime(source, ns=(0, 1))
    with pytest.raises(ZeroDivisionError):
        build(source, lambda: (1 // 0 for _ in range(1)))
    assert ArrowIndex(kept.path).column("id").to_pylist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "foreign", "holed"])
def test_a_damaged_file_is_built_anew(damage: str, source: Path) -> None:
    path = build(source).path
    content = path.read_bytes()
    foreign = pa.BufferOutputStream()
    with pa.ipc.new_file(foreign, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([record(0)], schema=SCHEMA))
    damaged = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "other": b"{}",
        "foreign": foreign.getvalue().to_pybytes(),
        "holed": content[: len(content) // 3].ljust(2 * len(content) // 3, b"\0")
        + content[2 * len(content) // 3 :],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"no sound index.*delete it"):
        ArrowIndex(path)
    assert build(source, [record(7)]).column("id").to_pylist() == [7]


def test_what_cannot_be_built_is_one_sentence(source: Path) -> None:
    with pytest.raises(DataError, match="could not be built"):
        open_index(source.parent, "all", [source], SCHEMA, lambda: [{"id": "no number"}])
    (source.parent / "folder").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="could not be built"):
        open_index(source.parent / "folder", "all", [source], SCHEMA, lambda: [])


@pytest.fixture
def read_only(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `os.access` sees a read-only file system, whoever asks."""
    monkeypatch.setattr(
        index_module.os, "access", lambda path, mode: not Path(path).is_relative_to(source.parent)
    )
    return source


def test_a_read_only_data_set_is_indexed_elsewhere(read_only: Path, tmp_path: Path) -> None:
    index = build(read_only, cache_dir=tmp_path / "cache")
    assert index.path.parent == tmp_path / "cache" / "indexes"
    assert len(build(read_only, never, cache_dir=tmp_path / "cache")) == 5
    twin = tmp_path / "twin" / "annotations.json"
    twin.parent.mkdir()
    twin.write_text("1")
    os.utime(twin, ns=(read_only.stat().st_atime_ns, read_only.stat().st_mtime_ns))
    assert (
        len(build(twin, [record(1)], cache_dir=tmp_path / "cache")) == 1
    )  # of another folder, under the same name


def test_a_read_only_data_set_with_an_index(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source)
    monkeypatch.setattr(index_module.os, "access", lambda path, mode: False)
    assert len(build(source, never, cache_dir=tmp_path / "cache")) == 5
    os.utime(source, ns=(0, 1))
    assert build(source, cache_dir=tmp_path / "cache").path.is_relative_to(tmp_path / "cache")


def _build_slowly(source: Path, begun: Event, tally: Path, seconds: float) -> None:
    def rows() -> Iterator[dict]:
        with tally.open("a") as file:
            file.write(f"{os.getpid()}\n")
        begun.set()
        time.sleep(seconds)
        yield from map(record, range(5))

    index = build(source, rows)
    assert len(index) == 5


def test_one_of_two_processes_builds(source: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    tally = tmp_path / "tally"
    processes = [
        context.Process(target=_build_slowly, args=(source, context.Event(), tally, 0.3)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert len(tally.read_text().split()) == 1


def test_a_killed_builder_blocks_nobody(source: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=_build_slowly, args=(source, begun, tmp_path / "tally", 60))
    process.start()
    assert begun.wait(30)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    assert not (source.parent / ".weakground" / "all.arrow").exists()
    assert len(build(source)) == 5
    assert sorted(
        path.suffix for path in (source.parent / ".weakground").iterdir() if path.suffix != ".lock"
    ) == [".arrow"]


def test_the_index_files_of_a_data_set(read_only: Path, tmp_path: Path) -> None:
    """Beside its files, one folder below, and in the cache folder; none of another data set."""
    root = read_only.parent
    cache = tmp_path / "cache"
    assert index_files(root, cache) == []
    elsewhere = build(read_only, cache_dir=cache).path
    (tmp_path / "twin").mkdir()
    twin = build(read_only.rename(tmp_path / "twin" / read_only.name), cache_dir=cache).path
    below = twin.parent / "below"
    assert elsewhere.is_relative_to(cache)
    assert index_files(root, cache) == [elsewhere]
    assert index_files(tmp_path, cache) == [elsewhere, twin]
    assert index_files(below, cache) == []
