"""What a user can get wrong about data, each as one sentence and the way out."""

from __future__ import annotations

from pathlib import Path


class DataError(Exception):
    """Data that cannot be used. The message is for the user: one sentence, and the way out."""


class DatasetNotFoundError(DataError):
    """A folder or file of a data set is not there.

    Args:
        dataset: name of the data set.
        missing: what was looked for.
        holds: what the folder must hold, in a few words.
        remedy: the option to set, or the command or address that brings the data.
        folder: the folder that must hold it, where that is not ``missing`` itself.
    """

    def __init__(
        self, dataset: str, missing: Path | str, holds: str, remedy: str, folder: Path | None = None
    ) -> None:
        holder = "it" if folder is None else str(folder.absolute())
        super().__init__(
            f"{dataset}: {Path(missing).absolute()} not found; {holder} must hold {holds}. {remedy}"
        )


def one_line(error: BaseException) -> str:
    """An error as its class and its message on one line.

    Example:
        >>> one_line(ValueError("no number:\\n x"))
        'ValueError: no number: x'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
