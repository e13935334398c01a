"""A byte of an index that has changed since it was written is noticed, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datamodules.errors import DataError
from datamodules.storage.index import ArrowIndex, index_files, open_index
from datamodules.storage.index_checksum import PLACEHOLDER, damaged_indexes, verify_index

SCHEMA = pa.schema([("key", pa.string()), ("boxes", pa.list_(pa.list_(pa.float32(), 4)))])


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A sound index file."""
    return write(tmp_path, "all")


def write(root: Path, name: str, key: str = "photo") -> Path:
    source = root / "annotations.json"
    source.write_text("1")
    rows = [{"key": f"{key} {n}", "boxes": [[n, 0, n + 4, 3]] * n} for n in range(5)]
    return open_index(root, name, [source], SCHEMA, lambda: [*rows, "photo 5\tno boxes"]).path


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_a_sound_index(index: Path) -> None:
    verify_index(index)
    assert damaged_indexes([index]) == {}
    assert PLACEHOLDER not in index.read_bytes()


def test_any_flipped_byte_is_noticed(index: Path) -> None:
    for position in np.random.default_rng(0).permutation(index.stat().st_size)[:100]:
        flip(index, position)
        with pytest.raises(DataError, match=r"all\.arrow .*: delete it, and it will be built anew"):
            verify_index(index)
        flip(index, position)
    verify_index(index)


def test_a_flipped_byte_within_the_data_is_not_noticed_at_opening(index: Path) -> None:
    """This is why there is a checksum."""
    flip(index, index.read_bytes().index(b"photo 0") + 2)
    assert ArrowIndex(index).value(0, "key") == "ph\x7fto 0"
    with pytest.raises(DataError, match="has been damaged since it was written"):
        verify_index(index)


def test_text_that_looks_like_the_placeholder(tmp_path: Path) -> None:
    path = write(tmp_path, "all", key=PLACEHOLDER.decode())
    verify_index(path)
    assert ArrowIndex(path).value(3, "key") == f"{PLACEHOLDER.decode()} 3"


def test_damaged_indexes_are_named_and_can_be_deleted(tmp_path: Path) -> None:
    paths = {name: write(tmp_path, name) for name in ("cut", "flipped", "sound")}
    os.truncate(paths["cut"], 100)
    flip(paths["flipped"], paths["flipped"].read_bytes().index(b"photo 3"))
    reasons = damaged_indexes(index_files(tmp_path))
    assert list(reasons) == [paths["cut"], paths["flipped"]]
    for path, reason in reasons.items():
        assert reason.startswith(str(path))
        path.unlink()
        assert write(tmp_path, path.stem) == path
    assert damaged_indexes(index_files(tmp_path)) == {}
