"""Texts that come from files of others: lists of names, JSON objects, broken encodings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datamodules.errors import DataError


def is_unicode(text: str) -> bool:
    """Whether a text holds no half of a surrogate pair, which other encodings leave when read as UTF-8.

    Example:
        >>> is_unicode("café"), is_unicode(b"caf\\xe9".decode("utf-8", "surrogateescape"))
        (True, False)
    """
    return not any("\ud800" <= character <= "\udfff" for character in text)


def as_text(value: Any, what: str) -> str:
    """A value that must be a text.

    Raises:
        TypeError: it is none.

    Example:
        >>> as_text(None, "phrase")
        Traceback (most recent call last):
        TypeError: the phrase is no text but None
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} is no text but {str(value)[:60]}")
    return value


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder. Links to folders are followed, but no folder is entered twice."""
    entered: set[str] = set()
    for directory, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        real_path = os.path.realpath(directory)
        if real_path in entered:
            folders.clear()
            continue
        entered.add(real_path)
        yield from (Path(directory, name) for name in names)


def json_object(text: bytes) -> dict:
    """The object that a JSON text holds; empty where it is damaged or holds something else.

    Example:
        >>> json_object(b'{"status": "success"}'), json_object(b"[1]"), json_object(b"{")
        ({'status': 'success'}, {}, {})
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def text_lines(path: Path) -> list[str]:
    """The lines of a file, without blanks at either end.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable ({type(error).__name__}: {error}).") from error


def listed_names(path: Path) -> list[str]:
    """The first word of each line that is not empty.

    Raises:
        DataError: the file cannot be read, or holds none.
    """
    names = [line.split()[0] for line in text_lines(path) if line]
    if not names:
        raise DataError(f"{path} names no image; it must hold one name a line.")
    return names
