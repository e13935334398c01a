"""Which classes and options a configuration can name, read from the constructors.

The catalogues say where to begin, and the types of the arguments lead on: a method takes a backbone, a
backbone takes a network, a network takes sizes. A new class is therefore known as soon as a listed class has
an argument of its type or of its base's.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningCLI

from callbacks.catalogue import CALLBACKS
from commands import PREFIX
from commands.runs import RunOptions
from datamodules.catalogue import DATASETS, WITHOUT_IMAGES
from lightning_modules.catalogue import METHODS
from metrics.protocols import Protocol

ROOT = Path(__file__).parents[1]
# The fields of a protocol are the keys of `GroundingEvaluation.changes`, whose type does not say so.
# Options that name a file of weights; one without a suffix, such as `package`, says where they come from.
WEIGHT_OPTIONS = frozenset({"pretrained", "weights", "head"})
STARTS = (*METHODS, *DATASETS, *WITHOUT_IMAGES, *CALLBACKS, Protocol)


def accepted_arguments(kind: type) -> dict[str, Any]:
    """The arguments of a constructor.

    Args:
        kind: a class; where its constructor passes ``**kwargs`` on, those of its base classes count, too.

    Returns:
        The type of every argument by its name.

    Example:
        >>> @dataclasses.dataclass
        ... class Size:
        ...     width: int
        >>> accepted_arguments(Size)
        {'width': <class 'int'>}
    """
    arguments: dict[str, Any] = {}
    for base in kind.__mro__:
        constructor = vars(base).get("__init__")
        if constructor is None:
            continue
        parameters = inspect.signature(constructor).parameters.values()
        # The constructor of a dataclass knows the types by names that only the class can resolve.
        types = typing.get_type_hints(base if dataclasses.is_dataclass(base) else constructor)
        for parameter in parameters:
            by_name = parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
            if by_name and parameter.name != "self":
                arguments.setdefault(parameter.name, types.get(parameter.name))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def classes_in(annotation: Any) -> Iterator[type]:
    """The classes that a type is made of.

    Example:
        >>> list(classes_in(list[int] | None))
        [<class 'int'>, <class 'NoneType'>]
    """
    parts = typing.get_args(annotation)
    for part in parts:
        yield from classes_in(part)
    if not parts and isinstance(annotation, type):
        yield annotation


def is_ours(kind: type) -> bool:
    """Whether a class, or one that it is derived from, lies in a package beside this one."""
    modules = [base.__module__ for base in kind.__mro__]
    packages = {name.removeprefix(PREFIX).split(".")[0] for name in modules if name.startswith(PREFIX)}
    return any((ROOT / package).is_dir() for package in packages)


def derived_classes(kind: type) -> list[type]:
    """The classes directly below another one.

    By this project's custom, a folder's ``base.py`` holds a contract, and the files beside it hold the
    classes that keep it: they are imported first.
    """
    package, _, module = kind.__module__.rpartition(".")
    if module == "base":
        for neighbour in iter_modules(import_module(package).__path__, f"{package}."):
            import_module(neighbour.name)
    # Stand-ins of tests are no classes that a configuration can name.
    subclasses: list[type] = kind.__subclasses__()
    return [subclass for subclass in subclasses if not subclass.__module__.startswith("tests.")]


@cache
def reachable_classes() -> tuple[type, ...]:
    """All classes of this project that the arguments of listed classes lead to, listed ones first."""
    reached: dict[type, None] = {}
    waiting = deque[type](STARTS)
    while waiting:
        kind = waiting.popleft()
        if kind in reached or not is_ours(kind):
            continue
        reached[kind] = None
        waiting.extend(derived_classes(kind))
        for annotation in accepted_arguments(kind).values():
            waiting.extend(classes_in(annotation))
    return tuple(reached)


@cache
def known_classes() -> dict[str, type]:
    """What may stand behind ``class_path``, by its short name."""
    named: dict[str, type] = {}
    for kind in reachable_classes():
        hidden = kind.__name__.startswith("_") or inspect.isabstract(kind)
        if not hidden and not dataclasses.is_dataclass(kind):
            named.setdefault(kind.__name__, kind)
    return named


def with_short_names(content: Any) -> None:
    """Writes the classes of this project by their short names, in place.

    A clone and an installed package have the same short names, so that either reads the other's runs.

    Args:
        content: a part of a configuration.

    Example:
        >>> content = {"chunker": {"class_path": "datamodules.chunkers.rules.RuleChunker"}}
        >>> with_short_names(content)
        >>> content
        {'chunker': {'class_path': 'RuleChunker'}}
    """
    if isinstance(content, list):
        for item in content:
            with_short_names(item)
    if isinstance(content, dict):
        module, _, name = str(content.get("class_path", "")).rpartition(".")
        kind = known_classes().get(name)
        if kind is not None and kind.__module__ == module:
            content["class_path"] = name
        for value in content.values():
            with_short_names(value)


def classes_for(argument: str) -> list[str]:
    """The names of the known classes that an argument of this name takes, whichever class has it.

    Example:
        >>> "RuleChunker" in classes_for("chunker")
        True
    """
    bases: set[type] = set()
    for kind in reachable_classes():
        bases.update(classes_in(accepted_arguments(kind).get(argument)))
    ours = {base for base in bases if is_ours(base)}
    return [name for name, kind in known_classes().items() if ours.intersection(kind.__mro__)]


@cache
def trainer_options() -> tuple[str, ...]:
    """The options below ``trainer``."""
    return tuple(inspect.signature(pl.Trainer).parameters)


@cache
def top_level_options() -> tuple[str, ...]:
    """The first parts of all options: those of a run, of the command line, and of the trainer's methods."""
    names = {"config", "seed_everything", "trainer", "model", "data"}
    names.update(field.name for field in dataclasses.fields(RunOptions))
    for method, skipped in LightningCLI.subcommands().items():
        names.update(inspect.signature(getattr(pl.Trainer, method)).parameters.keys() - skipped - {"self"})
    return tuple(sorted(names))


@cache
def known_options() -> tuple[str, ...]:
    """The last parts of all options."""
    names = {*top_level_options(), *trainer_options()}
    for kind in reachable_classes():
        names.update(accepted_arguments(kind))
    return tuple(sorted(names))


def weight_files(options: Any) -> Iterator[str]:
    """The files of weights that a model's options name, at any depth.

    Example:
        >>> list(weight_files({"pretrained": None, "backbone": {"encoder": {"head": "head.safetensors"}}}))
        ['head.safetensors']
    """
    if not isinstance(options, Mapping):
        return
    for name, value in options.items():
        if name in WEIGHT_OPTIONS and value is not None and Path(str(value)).suffix:
            yield str(value)
        yield from weight_files(value)
