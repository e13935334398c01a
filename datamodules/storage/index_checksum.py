"""The checksum of an index file: it tells whether a byte has changed since the file was written.

Opening an index maps it into memory and reads next to nothing of it, so that a changed byte would go
unnoticed. The file therefore holds the SHA-256 of its own bytes, in the metadata of its last record batch. It
is compared on request only, since that reads the whole file: ``python cli.py doctor`` does so.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from datamodules.errors import DataError
from datamodules.storage.arrow_index import ArrowIndex

# Stands in place of the checksum while that is computed, and is as long.
PLACEHOLDER = b"checksum".center(2 * hashlib.sha256().digest_size, b"-")


def seal(file: BinaryIO) -> None:
    """Replaces the placeholder in an index file by the checksum of the file.

    Args:
        file: the complete file, flushed, open for reading and writing.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        position = content.rfind(PLACEHOLDER)
        checksum = _checksum(content, position)
    file.seek(position)
    file.write(checksum)


def verify_index(path: Path) -> None:
    """Reads an index file to its end and compares it with its checksum.

    Args:
        path: path of the index file.

    Raises:
        DataError: the file has been damaged; the message says how to get a sound one.
    """
    stored = ArrowIndex(path).checksum
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        computed = _checksum(content, content.rfind(stored))
    if computed != stored:
        raise DataError(
            f"{path} has been damaged since it was written: delete it, and it will be built anew."
        )


def damaged_indexes(paths: Sequence[Path]) -> dict[Path, str]:
    """Verifies index files.

    Args:
        paths: paths of the files, such as `datamodules.storage.index.index_files` gives.

    Returns:
        For each file that is damaged, a sentence that says so, and the way out.
    """
    reasons: dict[Path, str] = {}
    for path in tqdm(paths, desc="verifying indexes", leave=False, delay=2):
        try:
            verify_index(path)
        except DataError as error:
            reasons[path] = str(error)
    return reasons


def _checksum(content: mmap.mmap, position: int) -> bytes:
    """SHA-256 of a file with the placeholder at ``position``, in hexadecimal."""
    checksum = hashlib.sha256()
    with memoryview(content) as view:
        checksum.update(view[:position])
        checksum.update(PLACEHOLDER)
        checksum.update(view[position + len(PLACEHOLDER) :])
    return checksum.hexdigest().encode()
