"""Archives are unpacked as if they were hostile: nothing outside the target, nothing but plain files and
folders, never more than was allowed.

Refused before anything is written in its place: absolute names, ``..``, links, devices, encrypted members.
    Refused while writing: more bytes, more
files or a higher compression ratio than `Limits` allow (zip bombs), and an archive that ends early. An
archive is unpacked beside its target and moved there when all of it was sound.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from datamodules.errors import DataError

BLOCK = 1 << 20
DAMAGES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


class ArchiveError(DataError):
    """An archive that is damaged or does what no data set's archive does. The message is for the user."""


@dataclass(frozen=True)
class Limits:
    """What an archive may become.

    Args:
        total: bytes of all files.
        files: number of members.
        ratio: unpacked bytes for each byte of the archive. Annotations in JSON reach about 20; deflate's
            utmost is 1,032.
        free: unpacked bytes below which the ratio does not matter.
    """

    total: int = 1 << 40
    files: int = 5_000_000
    ratio: float = 200.0
    free: int = 16 << 20


class Unpacked(NamedTuple):
    files: int
    size: int


def unpack(
    archive: Path, target: Path, limits: Limits = Limits(), progress: Callable[[int], None] | None = None
) -> Unpacked:
    """Unpacks a ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz`` or a single gzipped file into the folder
    ``target``, whole or not at all.

    ``progress`` is told the bytes of every piece written. Files that are already in ``target`` under the same
    names are replaced.

    Raises:
        ArchiveError: the archive is damaged, hostile, larger than ``limits`` or of another kind.
    """
    beside = target / f".unpacking-{archive.name}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    meter = _Meter(archive, limits, progress)
    try:
        for name, content in _members(archive):
            if content is None:
                (beside / name).mkdir(parents=True, exist_ok=True)
                meter.count()
            else:
                meter.write(content, beside / name)
        _merge(beside, target)
    except ArchiveError:
        raise
    except DAMAGES as error:
        raise ArchiveError(
            f"{archive}: damaged or cut off ({type(error).__name__}: {error}); nothing was unpacked. Delete it and fetch it again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Unpacked(meter.files, meter.size)


class _Meter:
    """Writes members and holds them to the limits as they grow: what an archive says of its own sizes is not
    believed.
    """

    def __init__(self, archive: Path, limits: Limits, progress: Callable[[int], None] | None) -> None:
        self.archive, self.limits, self.progress = archive, limits, progress
        self.packed = max(1, archive.stat().st_size)
        self.files = self.size = 0

    def count(self) -> None:
        self.files += 1
        if self.files > self.limits.files:
            raise ArchiveError(f"{self.archive}: holds more than {self.limits.files:,} files; refused.")

    def grow(self, size: int) -> None:
        self.size += size
        if self.size > self.limits.total:
            raise ArchiveError(f"{self.archive}: unpacks to more than {self.limits.total:,} bytes; refused.")
        if self.size > max(self.limits.free, self.limits.ratio * self.packed):
            raise ArchiveError(
                f"{self.archive}: unpacks to more than {self.limits.ratio:g} times its size, as a zip bomb does; refused."
            )
        if self.progress:
            self.progress(size)

    def write(self, content: IO[bytes], path: Path) -> None:
        self.count()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while block := content.read(BLOCK):
                self.grow(len(block))
                file.write(block)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    """The safe relative name and the content of every member; None for folders."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        yield from _zip_members(archive)
    elif name.endswith((".tar", ".tar.gz", ".tgz")):
        yield from _tar_members(archive)
    elif name.endswith(".gz"):
        with gzip.open(archive) as content:
            yield safe_name(archive, archive.name[:-3]), content  # type: ignore[misc]
    else:
        raise ArchiveError(f"{archive}: archives are .zip, .tar, .tar.gz, .tgz or .gz files.")


def _zip_members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = safe_name(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise ArchiveError(f"{archive}: {member.filename!r} is a link or a device; refused.")
            if member.flag_bits & 1:
                raise ArchiveError(f"{archive}: {member.filename!r} is encrypted; refused.")
            if member.is_dir():
                yield name, None
            else:
                with opened.open(member) as content:
                    yield name, content


def _tar_members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    with _plain(archive) as raw:
        reader = _Remembering(raw)
        with tarfile.open(fileobj=reader, mode="r:") as opened:  # type: ignore[call-overload]
            for member in opened:
                name = safe_name(archive, member.name)
                if not (member.isreg() or member.isdir()):
                    raise ArchiveError(f"{archive}: {member.name!r} is a link or a device; refused.")
                tarfile.data_filter(member, str(archive.parent))
                yield name, None if member.isdir() else opened.extractfile(member)
                opened.members = []  # type: ignore[attr-defined]  # a set of millions of files would fill the memory
        # tarfile takes an archive that was cut between two members for a whole one; a whole one ends with a
        # block of zeros.
        if reader.last != bytes(tarfile.BLOCKSIZE):
            raise EOFError("the end of the archive is missing")
        while raw.read(BLOCK):  # gzip compares its checksum at the very end
            pass


@contextmanager
def _plain(archive: Path) -> Iterator[IO[bytes]]:
    with archive.open("rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gzip.open(raw) as content:
                yield content  # type: ignore[misc]
        else:
            raw.seek(0)
            yield raw


class _Remembering:
    """A file that keeps what was read last."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.last = file, b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self.last = self.file.read(size)
        return self.last


def safe_name(archive: Path, name: str) -> PurePosixPath:
    """The name of a member as a path that stays below its folder, on every system.

    Raises:
        ArchiveError: it is empty, absolute or climbs out.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if (
        not name
        or "\0" in name
        or posix.is_absolute()
        or windows.drive
        or windows.root
        or ".." in {*posix.parts, *windows.parts}
    ):
        raise ArchiveError(f"{archive}: the name {name!r} leads out of the folder; refused.")
    return posix


def _merge(source: Path, target: Path) -> None:
    """Moves the files below ``source`` to the same places below ``target``; a folder that is not there yet is
    moved as a whole.
    """
    for found in sorted(source.iterdir()):
        place = target / found.name
        if found.is_dir() and place.is_dir():
            _merge(found, place)
        else:
            os.replace(found, place)
