"""What a user can get wrong about data, each as one sentence and the way out."""

from __future__ import annotations

from collections.abc import Sequence
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
    """

    def __init__(self, dataset: str, missing: Path | str, holds: str, remedy: str) -> None:
        super().__init__(f"{dataset}: {Path(missing).absolute()} not found; it must hold {holds}. {remedy}")


def require_paths(dataset: str, root: Path, paths: Sequence[str], holds: str, remedy: str) -> None:
    """Checks that a data set is where it should be.

    Args:
        dataset, holds, remedy: as for `DatasetNotFoundError`.
        root: folder of the data set.
        paths: what must lie below it.

    Raises:
        DatasetNotFoundError: ``root`` or one of ``paths`` is missing; it names the first.
    """
    for path in [root, *(root / name for name in paths)]:
        if not path.exists():
            raise DatasetNotFoundError(dataset, path, holds, remedy)
