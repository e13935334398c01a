"""Files that are written whole or not at all, whatever happens meanwhile: a kill, a full disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file beside its place and renames it there, so that what was there before stays until then.

    Args:
        path: of the file; its folder is made if it is not there.
        content: all of it; a text is written as UTF-8.

    Raises:
        OSError: it cannot be written; nothing is left of it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> write_whole(Path(folder.name) / "run" / "notes.txt", "all is well")
        >>> (Path(folder.name) / "run" / "notes.txt").read_text()
        'all is well'
    """
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An open file that takes the place of ``path`` when all of it is on disk, and leaves nothing otherwise.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.partial")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)  # which a failed write does not know
        unfinished.unlink(missing_ok=True)
        raise
