"""Fetching a file: resumed where it broke off, checked, and put in place by one rename."""

from __future__ import annotations

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from datamodules.errors import DataError

BLOCK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without a byte
RESUME = "the same command goes on where it stopped"

Progress = Callable[[int, int], None]  # told the bytes so far and in all (0 where unknown)


class DownloadError(DataError):
    """A file that could not be fetched. The message is for the user."""


def download(
    url: str, path: Path, checksum: str = "", size: int = 0, progress: Progress | None = None
) -> str:
    """Fetches ``url`` to ``path``.

    What has come so far is in ``<path>.part``, and the server's name for that version in ``<path>.part.tag``:
    the next call goes on there, if the server still has that version. A file that is already in place is
    checked again, not trusted.

    Args:
        url: http or https.
        path: of the file.
        checksum: ``sha256:<hex>`` or ``md5:<hex>``, if known.
        size: bytes, if known.
        progress: is told the bytes so far and in all.

    Returns:
        How the file was checked.

    Raises:
        DownloadError: the server refuses, the connection breaks, the disk is full, or what came is not what
            was expected.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: only http and https addresses are fetched.")
    if path.is_file() and fault_of(path, checksum, size) is None:
        return how_checked(checksum, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tag = path.with_name(f"{path.name}.part.tag")
    total = _fetch(url, part, tag, size, progress) or size
    received = part.stat().st_size
    if received < total:
        raise DownloadError(f"{url}: broke off after {received:,} of {total:,} bytes; {RESUME}.")
    fault = fault_of(part, checksum, size)
    tag.unlink(missing_ok=True)
    if fault:
        part.unlink()
        raise DownloadError(
            f"{url}: came whole, but {fault}: the server has another file than the known one. "
            "It was deleted; fetch it by hand if you trust it."
        )
    part.replace(path)
    return how_checked(checksum, size or total)


def _fetch(url: str, part: Path, tag: Path, size: int, progress: Progress | None) -> int:
    """As `_append_missing`, but what goes wrong is a `DownloadError`."""
    try:
        return _append_missing(url, part, tag, size, progress)
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{url}: the server answers {error.code} {error.reason}; the address may have moved, "
            "see docs/datasets.md."
        ) from error
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{url}: broke off ({type(error).__name__}: {error}); {RESUME}.") from error


def _append_missing(url: str, part: Path, tag: Path, size: int, progress: Progress | None) -> int:
    """Appends to ``part`` what is missing; returns the bytes of the whole file, 0 if they are unknown."""
    begun = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": "weakground", "Accept-Encoding": "identity"}
    if begun:
        headers |= {"Range": f"bytes={begun}-", "If-Range": tag.read_text()}
    try:
        response: Any = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not begun:  # 416: nothing comes after what is already there
            raise
        return _total_of(error.headers.get("Content-Range", "")) or begun
    with response:
        resumed = response.status == 206
        begun = begun if resumed else 0
        left = int(response.headers.get("Content-Length") or 0)
        total = begun + left if left else 0
        _require_space(url, part.parent, left)
        _keep_version(response, tag)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                begun += len(block)
                if progress:
                    progress(begun, total or size)
    return total


def _require_space(url: str, folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise DownloadError(
            f"{url}: {needed:,} bytes are needed in {folder.absolute()}, where fewer are free."
        )


def _keep_version(response: Any, tag: Path) -> None:
    """Writes the server's name for this version of the file; without one a download cannot be resumed."""
    version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if version and not version.startswith("W/"):
        tag.write_text(version)
    else:
        tag.unlink(missing_ok=True)


def _total_of(content_range: str) -> int:
    """``bytes */1234`` -> 1234."""
    total = content_range.rsplit("/", 1)[-1]
    return int(total) if total.isdigit() else 0


def fault_of(path: Path, checksum: str = "", size: int = 0) -> str | None:
    """What distinguishes a file from the known one, or None; without anything known, nothing does.

    Raises:
        ValueError: the checksum names another algorithm than SHA-256 or MD5.
    """
    if size and path.stat().st_size != size:
        return f"it has {path.stat().st_size:,} bytes instead of {size:,}"
    if checksum:
        algorithm, _, expected = checksum.partition(":")
        if algorithm not in {"sha256", "md5"}:
            raise ValueError(f"a checksum is sha256:... or md5:..., not {checksum!r}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, algorithm).hexdigest()
        if digest != expected:
            return f"its {algorithm} is {digest} instead of {expected}"
    return None


def how_checked(checksum: str, size: int) -> str:
    """How a downloaded file was checked, in words.

    Example:
        >>> how_checked("sha256:ab", 5)
        'sha256 is right'
        >>> how_checked("", 5)
        'no checksum is published; the size, 5 bytes, is right'
    """
    if checksum:
        return f"{checksum.split(':')[0]} is right"
    if size:
        return f"no checksum is published; the size, {size:,} bytes, is right"
    return "neither checksum nor size is published: not checked"
