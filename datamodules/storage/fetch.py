"""Fetching what a data set lacks and its publisher gives freely, checked and unpacked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from datamodules.storage.archives import unpack
from datamodules.storage.download import Progress, download
from datamodules.storage.layout import Part
from datamodules.storage.local_copy import LocalCopy

ARCHIVES = ".downloads"  # below a data set's folder; emptied as archives are unpacked


def fetch_missing(
    copy: LocalCopy,
    keep_archives: bool = False,
    say: Callable[[str], object] = print,
    progress: Progress | None = None,
) -> None:
    """Fetches and unpacks what is lacking and free; an archive that serves several parts is fetched once. Of
    several processes one fetches, the others wait.

    Args:
        copy: where the files go.
        keep_archives: do not delete archives after they were unpacked.
        say: is told what happens, a line at a time.
        progress: is told the bytes of each file so far and in all.

    Raises:
        DownloadError: a file could not be fetched; what came before it stays.
        ArchiveError: an archive could not be unpacked; what came before it stays.
    """
    archives = copy.root / ARCHIVES
    archives.mkdir(parents=True, exist_ok=True)
    with FileLock(archives / "lock"):
        parts_by_url: dict[str, Part] = {}
        for state in copy.check():
            if state.lacking and state.part.url:
                parts_by_url.setdefault(state.part.url, state.part)
        for url, part in parts_by_url.items():
            say(f"fetching {url}")
            if part.unpack is None:
                target = copy.root / part.path
                say(f"  {download(url, target, part.checksum, part.size, progress)}")
            else:
                archive = archives / url.rsplit("/", 1)[-1]
                say(f"  {download(url, archive, part.checksum, part.size, progress)}")
                unpacked = unpack(archive, _unpack_folder(copy, part))
                say(f"  unpacked {unpacked.files:,} files, {unpacked.size:,} bytes")
                if not keep_archives:
                    archive.unlink()
        (archives / "lock").unlink()
    with suppress(OSError):  # archives were kept, or another process removed the folder
        archives.rmdir()


def _unpack_folder(copy: LocalCopy, part: Part) -> Path:
    """Where an archive goes. One of photographs brings its own folder, the one that an option names."""
    folder, _ = copy.search_places(part)
    if folder == copy.root:
        return copy.root / str(part.unpack)
    return folder.parent
