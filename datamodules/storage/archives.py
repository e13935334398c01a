"""Archives are unpacked as if they were hostile: nothing outside the target, nothing but plain files and
folders, never more than was allowed.

Refused before anything is written in its place: absolute names, ``..``, links, devices, encrypted members.
Refused while writing: more bytes, more files or a higher compression ratio than `Limits` allow (zip bombs),
and an archive that ends early. An archive is unpacked beside its target and moved there when all of it was
sound.
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

BLOCK = 1 << 20  # bytes that are copied at a time
# What the libraries raise for an archive that is damaged.
DAMAGE_ERRORS = (
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
    """What an archive may become when it is unpacked.

    Args:
        total: most bytes of all files together.
        files: most members.
        ratio: most unpacked bytes for each byte of the archive. Annotations in JSON reach about 20; deflate
            cannot exceed 1,032.
        free: unpacked bytes below which the ratio does not matter.
    """

    total: int = 1 << 40
    files: int = 5_000_000
    ratio: float = 200.0
    free: int = 16 << 20


class Unpacked(NamedTuple):
    """What came out of an archive: number of members, and bytes of all files together."""

    files: int
    size: int


def unpack(
    archive: Path, target: Path, limits: Limits = Limits(), progress: Callable[[int], None] | None = None
) -> Unpacked:
    """Unpacks an archive into a folder, whole or not at all.

    Args:
        archive: a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` file, or a single gzipped file.
        target: the folder; files that it already holds under the same names are replaced.
        limits: what the archive may become.
        progress: is told the bytes of every piece written.

    Returns:
        What was unpacked.

    Raises:
        ArchiveError: the archive is damaged, hostile, larger than ``limits`` or of another kind.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> temporary = TemporaryDirectory()
        >>> folder = Path(temporary.name)
        >>> with zipfile.ZipFile(folder / "words.zip", "w") as archive:
        ...     archive.writestr("a/words.txt", "dog")
        >>> unpack(folder / "words.zip", folder / "out")
        Unpacked(files=1, size=3)
        >>> (folder / "out" / "a" / "words.txt").read_text()
        'dog'
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
    except DAMAGE_ERRORS as error:
        raise ArchiveError(
            f"{archive}: damaged or cut off ({type(error).__name__}: {error}); nothing was unpacked. "
            "Delete it and fetch it again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Unpacked(meter.files, meter.size)


class _Meter:
    """Writes members and holds them to the limits as they grow: what an archive says of its own sizes is not
    believed.
    """

    def __init__(self, archive: Path, limits: Limits, progress: Callable[[int], None] | None) -> None:
        self.archive = archive
        self.limits = limits
        self.progress = progress
        self.packed = max(1, archive.stat().st_size)
        self.files = 0
        self.size = 0

    def count(self) -> None:
        """Counts one more member."""
        self.files += 1
        if self.files > self.limits.files:
            raise ArchiveError(f"{self.archive}: holds more than {self.limits.files:,} files; refused.")

    def grow(self, size: int) -> None:
        """Counts ``size`` more bytes, before they are written."""
        self.size += size
        if self.size > self.limits.total:
            raise ArchiveError(f"{self.archive}: unpacks to more than {self.limits.total:,} bytes; refused.")
        if self.size > max(self.limits.free, self.limits.ratio * self.packed):
            raise ArchiveError(
                f"{self.archive}: unpacks to more than {self.limits.ratio:g} times its size, "
                "as a zip bomb does; refused."
            )
        if self.progress:
            self.progress(size)

    def write(self, content: IO[bytes], path: Path) -> None:
        """Writes a member to ``path``, which must not exist yet."""
        self.count()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while block := content.read(BLOCK):
                self.grow(len(block))
                file.write(block)


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    """The safe relative name and the content of every member; the content of a folder is None."""
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
    with _decompressed(archive) as raw:
        reader = _LastRead(raw)
        with tarfile.open(fileobj=reader, mode="r:") as opened:  # type: ignore[call-overload]
            for member in opened:
                name = safe_name(archive, member.name)
                if not (member.isreg() or member.isdir()):
                    raise ArchiveError(f"{archive}: {member.name!r} is a link or a device; refused.")
                tarfile.data_filter(member, str(archive.parent))
                yield name, None if member.isdir() else opened.extractfile(member)
                # A list of millions of members would fill the memory.
                opened.members = []  # type: ignore[attr-defined]
        # tarfile takes an archive that was cut between two members for a whole one; a whole one ends with a
        # block of zeros.
        if reader.last != bytes(tarfile.BLOCKSIZE):
            raise EOFError("the end of the archive is missing")
        while raw.read(BLOCK):  # gzip compares its checksum at the very end
            pass


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    """The bytes of a tar file, gzipped or not."""
    with archive.open("rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gzip.open(raw) as content:
                yield content  # type: ignore[misc]
        else:
            raw.seek(0)
            yield raw


class _LastRead:
    """A file that keeps what was read last."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.last = b""
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        """As the file's own ``read``."""
        self.last = self.file.read(size)
        return self.last


def safe_name(archive: Path, name: str) -> PurePosixPath:
    """The name of a member as a path that stays below its folder, on every system.

    Args:
        archive: the archive, for the message of an error.
        name: the name as it stands in the archive.

    Raises:
        ArchiveError: it is empty, absolute or climbs out.

    Example:
        >>> safe_name(Path("set.zip"), "images/1.jpg")
        PurePosixPath('images/1.jpg')
    """
    posix = PurePosixPath(name)
    windows = PureWindowsPath(name)
    absolute = posix.is_absolute() or windows.drive or windows.root
    if not name or "\0" in name or absolute or ".." in {*posix.parts, *windows.parts}:
        raise ArchiveError(f"{archive}: the name {name!r} leads out of the folder; refused.")
    return posix


def _merge(source: Path, target: Path) -> None:
    """Moves the files below ``source`` to the same places below ``target``.

    A folder that ``target`` does not have yet is moved as a whole.
    """
    for path in sorted(source.iterdir()):
        destination = target / path.name
        if path.is_dir() and destination.is_dir():
            _merge(path, destination)
        else:
            os.replace(path, destination)
