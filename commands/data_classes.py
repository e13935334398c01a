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

SPLITS: tuple[typing.Literal["val", "test"], ...] = ("val", "test")


def class_named(name: str) -> type[GroundingDataModule]:
    """A listed data set. Raises `DataError`."""
    classes = {kind.__name__: kind for kind in DATASETS}
    if name not in classes:
        raise DataError(f"no data set {name!r} is listed in datamodules/catalogue.py{nearest(name, classes)}")
    return classes[name]


def construct(kind: type[GroundingDataModule], root: Path, options: Mapping[str, str]) -> GroundingDataModule:
    """A data set from options as they stand on a command line.

    Raises:
        DataError: it has no such option, or not that value.
    """
    annotations = accepted_arguments(kind)
    arguments: dict[str, Any] = {}
    if "root" in annotations:
        arguments["root"] = root
    for option, text in options.items():
        if option not in annotations:
            raise DataError(f"{kind.__name__} has no option {option!r}{nearest(option, annotations)}")
        arguments[option] = typed(option, annotations[option], text)
    return kind(**arguments)


def typed(option: str, annotation: Any, text: str) -> Any:
    """``text`` as the annotation of an argument wants it.

    Raises:
        DataError: none of its values is written so.

    Example:
        >>> typed("year", typing.Literal[2014, 2017], "2017")
        2017
    """
    is_union = typing.get_origin(annotation) in {typing.Union, UnionType}
    kinds = typing.get_args(annotation) if is_union else (annotation,)
    choices: list[Any] = []
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal:
            choices += typing.get_args(kind)
    for choice in choices:
        if str(choice) == text:
            return choice
    if choices:
        names = list(map(str, choices))
        raise DataError(f"{option} must be one of {', '.join(names)}, not {text!r}{nearest(text, names)}")
    if Path in kinds:
        return Path(text)
    return text if str in kinds else yaml.safe_load(text)


def sources_of(datamodule: GroundingDataModule) -> Iterator[tuple[str, Any]]:
    """Every split that the data set has, with its source, or with the `DataError` that says why it cannot be
    opened.
    """
    try:
        captions = datamodule.training_source()
    except DataError as error:
        yield "train", error
    else:
        if captions is not None:
            yield "train", captions
    for split in SPLITS:
        try:
            sources = datamodule.evaluation_sources(split)
        except DataError as error:
            yield split, error
            continue
        for name, source in sources.items():
            if len(sources) == 1 or name == datamodule.name:
                yield split, source
            else:
                yield name.removeprefix(f"{datamodule.name}_"), source
