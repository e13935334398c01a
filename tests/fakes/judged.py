"""What a fake evaluation set holds, as far as a reader must give it back, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes.base import save_image

Colour = tuple[int, int, int]
SIZE = (12, 16)  # height, width


@dataclass
class Judged:
    """A small evaluation set on disk.

    Attributes:
        arguments: of its datamodule.
        records: key -> what the source must give for it
            (the module of its kind in `tests.datamodules.kinds.examples` says in which form).
        needed: files and folders without which it must not open.
        broken: names of what opening must leave out.
        skipped: keys of what must turn out to be unreadable.
        asked: how many samples are asked for, where that is not one a record.
        useless: how many records were written that are sound, but cannot be judged by.
    """

    arguments: dict[str, Any]
    records: dict[str, Any]
    needed: list[Path]
    broken: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    asked: int | None = field(default=None, kw_only=True)
    useless: int = field(default=0, kw_only=True)


def colour(number: int) -> Colour:
    """A colour of its own for each of a few images."""
    return (40 * number + 20) % 256, 100, (220 - 35 * number) % 256


def save_photo(path: Path, number: int, size: tuple[int, int] = SIZE) -> Colour:
    """An image of its own colour; returns the colour."""
    save_image(path, colour(number), size, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return colour(number)


def label_map(number: int, values: Iterable[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H,W) uint8 in which each of ``values`` occurs, in patches."""
    chosen = np.array(list(values), dtype=np.uint8)
    pattern = np.random.default_rng(number).integers(0, len(chosen), size)
    pattern.flat[: len(chosen)] = range(len(chosen))
    return chosen[pattern]


def save_numbers(path: Path, numbers: np.ndarray, mode: str = "L") -> None:
    """A label map as a grey image or, with mode ``P``, as a palette image of other colours than numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(numbers)
    if mode == "P":
        image = Image.frombytes("P", image.size, numbers.tobytes())
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(path)
