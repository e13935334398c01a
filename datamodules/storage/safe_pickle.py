"""Annotations that their publishers ship as pickles, read without running anything that such a file asks for.

A pickle is a program: what is loaded may call any function. The annotation files of published data sets need
none, they are lists, dictionaries, sets, texts and numbers; all else is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

from datamodules.errors import DataError, one_line

REMEDY = "get the file from its publisher again"
# The only builtin containers that a pickle names as a function to be called; all others have an opcode of
# their own.
CONTAINERS: dict[tuple[str, str], type] = {
    (module, kind.__name__): kind
    for module in ("builtins", "__builtin__")  # as Python 3 and Python 2 call it
    for kind in (set, frozenset)
}


class ForbiddenPickle(pickle.UnpicklingError):
    """A pickle asks for more than containers of texts and numbers."""


class _PlainUnpickler(pickle.Unpickler):
    """Loads no class and calls no function but those of `CONTAINERS`."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return CONTAINERS[module, name]
        except KeyError:
            raise ForbiddenPickle(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise ForbiddenPickle("an object stored elsewhere")


def read_plain_pickle(path: Path) -> Any:
    """Reads a pickle of dict, list, tuple, set, str, bytes, int, float, bool and None.

    Args:
        path: path of the file. Texts that Python 2 wrote are read as latin-1.

    Returns:
        What the pickle holds.

    Raises:
        DataError: the file cannot be read, is no complete pickle, or holds anything else; nothing of it has
            been run then.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> temporary = TemporaryDirectory()
        >>> path = Path(temporary.name) / "annotations.p"
        >>> _ = path.write_bytes(pickle.dumps({"train": {1, 2}}))
        >>> read_plain_pickle(path)
        {'train': {1, 2}}
    """
    try:
        with path.open("rb") as file:
            _check_line_ends(file, path)
            return _PlainUnpickler(file, encoding="latin1").load()
    except ForbiddenPickle as error:
        raise DataError(
            f"{path}: refused, since it asks to load {error}, which annotations do not need; {REMEDY}."
        ) from error
    except (
        OSError,
        pickle.UnpicklingError,
        EOFError,
        ImportError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DataError(f"{path}: not readable as a pickle ({one_line(error)}); {REMEDY}.") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # torn or made up opcodes
        raise DataError(f"{path}: damaged as a pickle ({one_line(error)}); {REMEDY}.") from error


def _check_line_ends(file: BinaryIO, path: Path) -> None:
    """Refuses a pickle of protocol 0, which is text, whose line ends a transfer in text mode has changed.

    Raises:
        DataError: every line ends as on Windows, so that every name in it would end in a blank.
    """
    first_line = file.readline(1024)
    file.seek(0)
    if first_line.endswith(b"\r\n") and first_line[:1] in b"(]}":
        raise DataError(
            f"{path}: damaged as a pickle: its line ends were changed to those of Windows, as a transfer in "
            f"text mode does; {REMEDY}."
        )
