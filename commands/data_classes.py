"""Data sets by the name of their class, built from options as they stand on a command line, and opened split
by split.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import yaml

from commands.options import accepted_arguments
from commands.suggest import nearest
from datamodules.base import GroundingDataModule
from datamodules.catalogue import DATASETS
from datamodules.errors import DataError


def class_named(name: str) -> type[GroundingDataModule]:
    """A listed data set. Raises `DataError`."""
    found = {kind.__name__: kind for kind in DATASETS}
    if name not in found:
        raise DataError(f"no data set {name!r} is listed in datamodules/catalogue.py{nearest(name, found)}")
    return found[name]


def construct(kind: type[GroundingDataModule], root: Path, options: Mapping[str, str]) -> GroundingDataModule:
    """A data set from options as they stand on a command line.

    Raises:
        DataError: it has no such option, or not that value.
    """
    accepted = accepted_arguments(kind)
    for option in options:
        if option not in accepted:
            raise DataError(f"{kind.__name__} has no option {option!r}{nearest(option, accepted)}")
    values: dict[str, Any] = {
        option: typed(option, accepted[option], text) for option, text in options.items()
    }
    return kind(**({"root": root} if "root" in accepted else {}) | values)


def typed(option: str, annotation: Any, text: str) -> Any:
    """``text`` as the annotation of an argument wants it.

    Raises:
        DataError: none of its values is written so.
    """
    kinds = (
        typing.get_args(annotation)
        if typing.get_origin(annotation) in {typing.Union, UnionType}
        else (annotation,)
    )
    choices = [
        value
        for kind in kinds
        if typing.get_origin(kind) is typing.Literal
        for value in typing.get_args(kind)
    ]
    if choices:
        for choice in choices:
            if str(choice) == text:
                return choice
        raise DataError(
            f"{option} must be one of {', '.join(map(str, choices))}, not {text!r}{nearest(text, map(str, choices))}"
        )
    if Path in kinds:
        return Path(text)
    return text if str in kinds else yaml.safe_load(text)


def sources_of(datamodule: GroundingDataModule) -> Iterator[tuple[str, Any]]:
    """Every split that the data set has, with its source, or with the `DataError` that says why it cannot be
    opened.
    """
    splits: tuple[typing.Literal["val", "test"], ...] = ("val", "test")
    try:
        if (captions := datamodule.caption_source()) is not None:
            yield "train", captions
    except DataError as error:
        yield "train", error
    for split in splits:
        try:
            opened = datamodule.evaluation_sources(split)
        except DataError as error:
            yield split, error
            continue
        for name, source in opened.items():
            yield (
                split
                if len(opened) == 1 or name == datamodule.name
                else name.removeprefix(f"{datamodule.name}_"),
                source,
            )
