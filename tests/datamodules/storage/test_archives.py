"""Sound archives come out as they were packed; hostile and damaged ones leave nothing behind."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.storage.archives import ArchiveError, Limits, safe_name, unpack

FILES = {
    "set/a.txt": b"alpha",
    "set/deep/b.bin": bytes(range(256)) * 20,
    "top.txt": b"",
    "set/ünï.txt": "ü".encode(),
}


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def write_tar(path: Path, *members: tuple[str, bytes, dict]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content, fields in members or [(name, content, {}) for name, content in FILES.items()]:
            add(archive, name, content, **fields)
    return path


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members or FILES.items():
            archive.writestr(name, content)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "x.zip", "X.ZIP"])
def test_what_was_packed_comes_out(name: str, tmp_path: Path) -> None:
    archive = (write_zip if name.lower().endswith("zip") else write_tar)(tmp_path / name)
    pieces: list[int] = []
    unpacked = unpack(archive, tmp_path / "out", progress=pieces.append)
    assert content_of(tmp_path / "out") == FILES
    assert unpacked == (4, sum(map(len, FILES.values())))
    assert sum(pieces) == unpacked.size


def test_a_single_gzipped_file(tmp_path: Path) -> None:
    (tmp_path / "notes.json.gz").write_bytes(gzip.compress(b"[1]"))
    unpack(tmp_path / "notes.json.gz", tmp_path / "out")
    assert content_of(tmp_path / "out") == {"notes.json": b"[1]"}


def test_a_second_archive_adds_to_the_folders_of_the_first(tmp_path: Path) -> None:
    unpack(write_zip(tmp_path / "a.zip", ("set/a", b"1"), ("set/b", b"2")), tmp_path / "out")
    unpack(write_zip(tmp_path / "b.zip", ("set/b", b"3"), ("set/c", b"4")), tmp_path / "out")
    assert content_of(tmp_path / "out") == {"set/a": b"1", "set/b": b"3", "set/c": b"4"}


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "C:/x", "C:x", "\\x", "a\\..\\..\\x", "//server/x", "", "a\0b"]
)
def test_names_that_lead_out(name: str) -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        safe_name(Path("x.tar"), name)


def test_odd_names_that_stay_within() -> None:
    for name in ("a/b", "./a", "a..b/c", "a b", "-x", "..a"):
        assert safe_name(Path("x.tar"), name).parts


def zip_member(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o777) << 16
    return member


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "tar with ..": lambda folder: write_tar(folder / "x.tar", ("set/a", b"1", {}), ("../evil", b"2", {})),
    "tar with an absolute name": lambda folder: write_tar(folder / "x.tar", (f"{folder}/evil", b"2", {})),
    "tar with a symbolic link": lambda folder: write_tar(
        folder / "x.tar", ("l", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"}), ("l/x", b"1", {})
    ),
    "tar with a hard link": lambda folder: write_tar(
        folder / "x.tar", ("l", b"", {"type": tarfile.LNKTYPE, "linkname": "../x"})
    ),
    "tar with a device": lambda folder: write_tar(
        folder / "x.tar", ("d", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})
    ),
    "tar with a pipe": lambda folder: write_tar(folder / "x.tar", ("p", b"", {"type": tarfile.FIFOTYPE})),
    "tar with a name twice": lambda folder: write_tar(folder / "x.tar", ("a", b"1", {}), ("a", b"2", {})),
    "tar bomb": lambda folder: write_tar(folder / "x.tar.gz", ("zeros", bytes(24 << 20), {})),
    "zip with ..": lambda folder: write_zip(folder / "x.zip", ("a", b"1"), ("../evil", b"2")),
    "zip with an absolute name": lambda folder: write_zip(folder / "x.zip", ("/evil", b"2")),
    "zip with a symbolic link": lambda folder: write_zip(
        folder / "x.zip", (zip_member("l", stat.S_IFLNK), b"/etc")
    ),
    "zip bomb": lambda folder: write_zip(folder / "x.zip", ("zeros", bytes(24 << 20))),
    "zip bomb of many": lambda folder: write_zip(
        folder / "x.zip", *((str(n), bytes(4 << 20)) for n in range(6))
    ),
    "not a tar": lambda folder: _bytes(folder / "x.tar", b"<html>404</html>"),
    "not a zip": lambda folder: _bytes(folder / "x.zip", b"<html>404</html>"),
    "empty tar file": lambda folder: _bytes(folder / "x.tar", b""),
    "another kind": lambda folder: _bytes(folder / "x.rar", b"Rar!"),
    "bytes that are wrong": lambda folder: _flipped(write_tar(folder / "x.tar.gz")),
    "encrypted zip": lambda folder: _encrypted(write_zip(folder / "x.zip")),
}


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _flipped(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF  # in gzip's checksum
    return _bytes(path, bytes(data))


def _encrypted(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return _bytes(path, bytes(data))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_and_damaged_archives_leave_nothing(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    archive = HOSTILE[kind](tmp_path / "in")
    with pytest.raises(ArchiveError) as raised:
        unpack(archive, tmp_path / "out" / "deep")
    assert str(archive) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert content_of(tmp_path / "out") == {}
    assert list((tmp_path / "out" / "deep").iterdir()) == []
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "in" / "evil").exists()


def test_limits(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar")
    for limits, words in (
        (Limits(total=5000), "5,000 bytes"),
        (Limits(files=3), "3 files"),
        (Limits(ratio=0.1, free=10), "zip bomb"),
    ):
        with pytest.raises(ArchiveError, match=words):
            unpack(archive, tmp_path / "out", limits)
        assert content_of(tmp_path / "out") == {}
    assert unpack(archive, tmp_path / "out", Limits(total=5127, files=4, ratio=1.0)).files == 4


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip"])
def test_an_archive_cut_anywhere_is_whole_or_nothing(name: str, tmp_path: Path) -> None:
    archive = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name)
    data = archive.read_bytes()
    cuts = sorted(
        {
            *np.random.default_rng(0).integers(1, len(data), 60).tolist(),
            *range(512, len(data), 512),
            len(data) - 1,
        }
    )
    refused = 0
    for cut in cuts:
        archive.write_bytes(data[:cut])
        out = tmp_path / f"out{cut}"
        try:
            unpack(archive, out)
        except ArchiveError:
            refused += 1
            assert content_of(out) == {}
        else:  # only the padding behind the end was cut off
            assert content_of(out) == FILES
    assert refused > len(cuts) / 3 if name == "x.tar" else refused == len(cuts)


def test_what_was_there_before_stays_when_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(ArchiveError):
        unpack(write_tar(tmp_path / "x.tar", ("mine", b"other", {}), ("../x", b"", {})), tmp_path / "out")
    assert content_of(tmp_path / "out") == {"mine": b"kept"}
