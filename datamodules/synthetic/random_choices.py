"""Random choices that are the same in every version of Python.

They are built on ``Random.random`` alone, the only method whose stream Python promises to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options, each with the same probability."""
    return options[int(rng.random() * len(options))]


def shuffled(rng: Random, items: Iterable[T]) -> list[T]:
    """The items in random order.

    Example:
        >>> shuffled(Random(0), ["a", "b", "c"])
        ['c', 'b', 'a']
    """
    keyed = sorted((rng.random(), position, item) for position, item in enumerate(items))
    return [item for _, _, item in keyed]
