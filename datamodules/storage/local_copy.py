"""A folder that should hold a data set: how much of it is there, and what to do about what is missing.

Every message about missing data is written here, from the facts of a `Layout`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import DatasetNotFoundError
from datamodules.storage.layout import Layout, Part, instructions

State = Literal["complete", "present", "partial", "incomplete", "missing", "absent"]
WILDCARDS = frozenset("*?[")


@dataclass(frozen=True)
class PartState:
    """How much of a part is there.

    Args:
        part: what was looked for.
        files: number of files that are there.
        state: ``complete``; ``present`` (how many there should be is unknown); ``partial`` (fewer than
            published, but its links are known to expire); ``incomplete``; ``missing``; ``absent`` (it is
            optional).
    """

    part: Part
    files: int
    state: State

    @property
    def lacking(self) -> bool:
        """Whether something has to be done about it."""
        return self.state in {"incomplete", "missing"}


@dataclass(frozen=True)
class LocalCopy:
    """A data set, or a file of weights, in a folder of this machine.

    Args:
        layout: what it should look like.
        root: its folder.
        options: of its constructor, as far as they are set.
    """

    layout: Layout
    root: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> list[PartState]:
        """How much there is of each part that is read with these options."""
        return [self.check_part(part) for part in self.layout.parts_for(self.options)]

    def check_part(self, part: Part) -> PartState:
        """How much there is of one part; of several places the fullest counts."""
        folder, patterns = self.search_places(part)
        files = max(sum(1 for _ in matching_paths(folder, pattern)) for pattern in patterns)
        return PartState(part, files, _state(part, files))

    def search_places(self, part: Part) -> tuple[Path, tuple[str, ...]]:
        """The folder in which a part is looked for, and its patterns in that folder."""
        if part.folder_option is not None:
            option, pattern = part.folder_option
            folder = self.layout.with_options(self.options).get(option)
            if folder is not None:
                return Path(folder), (pattern,)
        return self.root, (part.path, *part.alternatives)

    def command(self, download: bool = False) -> str:
        """The command line that prepares this copy."""
        words = ["python cli.py prepare", self.layout.name]
        deciding = {*self.layout.options, *self._folder_options()}
        for option, value in self.options.items():
            if option in deciding and value is not None and str(value) != self.layout.options.get(option):
                words.append(f"{option}={value}")
        if self.root != self.layout.folder(self.options):
            words.append(f"--root {self.root}")
        if download:
            words.append("--download")
        return " ".join(words)

    def remedy(self) -> str:
        """What to do if something is missing: the next command, what is obtained by hand and where, and the
        option that names another folder.
        """
        parts = [state.part for state in self.check() if state.lacking]
        if not parts:
            parts = self.layout.parts_for(self.options)
        by_hand = instructions(parts)
        can_be_fetched = any(part.url for part in parts)
        command = self.command(download=can_be_fetched)
        if by_hand and can_be_fetched:
            text = f"`{command}` fetches what is free. By hand: {by_hand}."
        elif can_be_fetched:
            text = f"`{command}` fetches it."
        else:
            text = f"`{command}` says what is needed. By hand: {by_hand}."
        options = " or ".join(f"--data.{option}" for option in ("root", *self._folder_options()))
        text += f" If it is in another folder, set {options}."
        if self.layout.fallback:
            text += f" Without --data.root, {self.layout.fallback} are used."
        return text

    def not_found(self, missing: Path) -> DatasetNotFoundError:
        """The error that says that ``missing``, a file or folder of this copy, is not there."""
        required = [part.path for part in self.layout.parts_for(self.options) if not part.optional]
        folder = None if missing == self.root else self.root
        return DatasetNotFoundError(
            self.layout.title, missing, ", ".join(required), self.remedy(), folder=folder
        )

    def require(self, *paths: Path) -> None:
        """Checks that the folder is there, and all of ``paths``.

        Raises:
            DatasetNotFoundError: one of them is missing; it names the first.
        """
        for path in (self.root, *paths):
            if not path.exists():
                raise self.not_found(path)

    def first_existing(self, *paths: Path) -> Path:
        """The first of ``paths`` that is there.

        Raises:
            DatasetNotFoundError: none of them is; it names the first, or the folder if that is missing.
        """
        for path in paths:
            if path.exists():
                return path
        raise self.not_found(paths[0] if self.root.exists() else self.root)

    def _folder_options(self) -> list[str]:
        """The options, besides ``root``, that name folders of some of the parts."""
        names = [part.folder_option[0] for part in self.layout.parts if part.folder_option is not None]
        return list(dict.fromkeys(names))


def _state(part: Part, files: int) -> State:
    if files == 0:
        return "absent" if part.optional else "missing"
    if part.count is None:
        return "present"
    if files >= part.count:
        return "complete"
    return "partial" if part.links_expire else "incomplete"


def matching_paths(root: Path, pattern: str) -> Iterator[Path]:
    """The paths below ``root`` that a pattern names: folders, and files that are not empty."""
    path = Path(os.path.normpath(root / pattern))  # a pattern may begin with ".."
    steps = path.parts
    wild_steps = [number for number, step in enumerate(steps) if WILDCARDS & set(step)]
    if not wild_steps:
        if path.is_dir() or (path.is_file() and path.stat().st_size):
            yield path
        return
    folder = Path(*steps[: wild_steps[0]])
    if folder.is_dir():
        yield from folder.glob("/".join(steps[wild_steps[0] :]))
