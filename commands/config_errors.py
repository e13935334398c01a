"""Misspelt names in configurations and on the command line: one sentence with the nearest name.

Everything is checked here before the parser sees it and before anything is built or looked for, so that a
misspelt option is told before a missing file is. The parser still checks all values.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml

from commands.command_line import ConfigError, config_files, options_in
from commands.options import (
    STARTS,
    accepted_arguments,
    classes_for,
    classes_in,
    is_ours,
    known_classes,
    top_level_options,
    trainer_options,
)
from commands.renamed import RENAMED_CLASSES, renamed_option, without_init_args
from commands.suggest import nearest
from datamodules.base import GroundingDataModule
from lightning_modules.base import WeakgroundModule

# Where the configuration itself names a class: what kind of class it is.
KINDS = {"model": WeakgroundModule, "data": GroundingDataModule, "trainer.callbacks": pl.Callback}
# The least values of numbers whose types allow for less.
LEAST = {
    "seed_everything": 0,
    "save_every": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.log_every_n_steps": 1,
}


def check_config(argv: list[str]) -> None:
    """Checks all names in a command's config files and in its options.

    Args:
        argv: the subcommand and its options.

    Raises:
        ConfigError: a file is missing or no YAML, or an option or a class does not exist.
    """
    check_command_line(argv)
    for path in config_files(argv):
        try:
            check_content(read_config(path))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def check_command_line(argv: list[str]) -> None:
    """Checks what can be checked of a command line without its config files.

    The parser checks the options of classes, which only the configuration names.

    Raises:
        ConfigError: an option of the run or of the trainer, or a class, does not exist.
    """
    for option, value in options_in(argv):
        name = without_init_args(option)
        parts = name.split(".")
        if not option.startswith("--") or parts[-1] == "help" or parts[0].startswith("print_"):
            continue
        _check_option(name, 0, parts[0], top_level_options())
        if parts[0] == "trainer" and len(parts) > 1:
            _check_option(name, 1, parts[1], trainer_options())
        names_a_class = parts[-1] == "class_path" or name in KINDS
        if names_a_class and value.isidentifier() and value != "null" and not Path(value).is_file():
            find_class(value, name.removesuffix(".class_path"))


def _check_option(option: str, known_parts: int, part: str, names: Iterable[str]) -> None:
    """Raises `ConfigError` if ``part``, the first unknown one of an option, is none of ``names``."""
    names = list(names)
    if part not in names:
        raise ConfigError(unknown_option(option, known_parts, part, names))


def unknown_option(option: str, known_parts: int, misspelt: str, names: Iterable[str]) -> str:
    """The sentence about an option of the command line that does not exist.

    Args:
        option: as it was given, without ``init_args``.
        known_parts: how many of its leading parts exist, at least.
        misspelt: the part that does not exist.
        names: what that part could have been.
    """
    renamed = renamed_option(option, known_parts)
    if renamed:
        return renamed
    return (
        f"no option {option!r}{nearest(misspelt, names) or ','} `python cli.py SUBCOMMAND --help` lists them."
    )


def read_config(path: Path) -> dict[str, Any]:
    """A config file.

    Raises:
        ConfigError: it is no YAML, or holds something else than keys.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{line}no valid YAML ({error.problem}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"no valid YAML ({error}).") from error
    if not isinstance(content, dict):
        raise ConfigError("a configuration must hold keys such as model, data and trainer.")
    return content


def check_content(content: dict[str, Any]) -> None:
    """Checks the names of one config file.

    Raises:
        ConfigError: a key or a class does not exist.
    """
    check_keys(content, top_level_options(), "", "a configuration")
    trainer = content.get("trainer")
    if isinstance(trainer, dict):
        check_keys(trainer, trainer_options(), "trainer", "trainer")
    for key in ("model", "data", "trainer"):
        check_value(content.get(key), None, key)
    _check_numbers(content)


def _check_numbers(content: dict[str, Any]) -> None:
    for option, least in LEAST.items():
        value: Any = content
        for key in option.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int) and value < least:
            raise ConfigError(f"{option} must be at least {least}, not {value}.")
    trainer = content.get("trainer")
    if isinstance(trainer, dict) and trainer.get("overfit_batches"):
        raise ConfigError(
            "trainer.overfit_batches would change the order of the images, which a run must know to go on: "
            "use a smaller data set, or --trainer.limit_train_batches."
        )


def check_keys(content: dict[str, Any], names: Iterable[str], option: str, owner: str) -> None:
    """Checks the keys of one mapping.

    Args:
        content: the mapping.
        names: the keys that it may have.
        option: where it stands, e.g. ``trainer.callbacks[0]``; empty at the top.
        owner: whose keys they are, as the message calls it.

    Raises:
        ConfigError: a key is not among them.
    """
    names = list(names)
    for key in content:
        if key in names:
            continue
        known_parts = option.split(".") if option else []
        old = ".".join([*(part.split("[")[0] for part in known_parts), str(key)])
        renamed = renamed_option(old, len(known_parts))
        if renamed:
            raise ConfigError(renamed)
        raise ConfigError(f"{owner} has no key {key!r}{nearest(str(key), names) or '.'}")


def check_value(value: Any, annotation: Any, option: str) -> None:
    """Checks the classes and keys within a value.

    Args:
        value: as a config file has it.
        annotation: its type; None where it is not known.
        option: where it stands.

    Raises:
        ConfigError: a key or a class does not exist, or there is nothing where something must be.
    """
    if value is None and not _allows_null(annotation):
        expected = getattr(annotation, "__name__", annotation)
        raise ConfigError(f"{option} must be of type {expected}, not null; leave it out for its default.")
    if isinstance(value, list):
        for number, item in enumerate(value):
            check_value(item, annotation, f"{option}[{number}]")
    elif isinstance(value, dict) and "class_path" in value:
        check_class(value, option)
    elif isinstance(value, dict):
        _check_mapping(value, annotation, option)
    elif isinstance(value, str) and _takes_a_class(annotation) and value.isidentifier():
        find_class(value, option)


def check_class(value: dict[str, Any], option: str) -> None:
    """Checks a ``class_path`` and its ``init_args``.

    Raises:
        ConfigError: the class or one of its arguments does not exist.
    """
    check_keys(value, ("class_path", "init_args", "dict_kwargs"), option, option)
    name = str(value["class_path"])
    kind = find_class(name, option)
    arguments = value.get("init_args") or {}
    annotations: dict[str, Any] = {}
    if kind is not None:
        annotations = accepted_arguments(kind)
        check_keys(arguments, annotations, option, f"{option}: {name}")
    for key, argument in arguments.items():
        check_value(argument, annotations.get(key), f"{option}.{key}")


def _check_mapping(value: dict[str, Any], annotation: Any, option: str) -> None:
    """Checks a mapping that stands for a dataclass, for a dictionary, or for a part of a configuration."""
    of_values = _type_of_values(annotation)
    annotations = dict.fromkeys(value, of_values)
    if of_values is None:
        records = [kind for kind in classes_in(annotation) if dataclasses.is_dataclass(kind)]
        if records:
            annotations = accepted_arguments(records[0])
            check_keys(value, annotations, option, option)
    for key, item in value.items():
        below = option if key == "init_args" else f"{option}.{key}"
        check_value(item, annotations.get(key), below)


def _type_of_values(annotation: Any) -> Any:
    """The type of a dictionary's values: ``dict[str, int] | None`` -> ``int``; None for any other type."""
    for part in (annotation, *typing.get_args(annotation)):
        origin = typing.get_origin(part)
        if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
            return typing.get_args(part)[1]
    return None


def _allows_null(annotation: Any) -> bool:
    """Whether a value of this type may be null. The parser lets null pass for any type."""
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        return any(_allows_null(part) for part in typing.get_args(annotation))
    if origin is typing.Literal:
        return None in typing.get_args(annotation)
    return annotation is None or annotation is Any or annotation is types.NoneType


def _takes_a_class(annotation: Any) -> bool:
    """Whether a word in place of a value of this type can only be the name of a class of ours."""
    kinds = [kind for kind in classes_in(annotation) if kind is not type(None)]
    return bool(kinds) and all(is_ours(kind) and not dataclasses.is_dataclass(kind) for kind in kinds)


def find_class(name: str, option: str) -> type | None:
    """A class by its short name or by its whole path.

    Args:
        name: as ``class_path`` gives it.
        option: where it stands.

    Returns:
        The class; None if it is not of this project, whose arguments are then left to the parser.

    Raises:
        ConfigError: there is no such class.
    """
    module, _, short_name = name.rpartition(".")
    kind = known_classes().get(name)
    if module:
        kind = _import_class(module, short_name)
    elif kind is None:
        kind = getattr(pl.callbacks, name, None) or getattr(pl.loggers, name, None)
    base = KINDS.get(option.split("[")[0], object)
    if kind is not None and issubclass(kind, base):
        return kind if is_ours(kind) else None
    renamed = RENAMED_CLASSES.get(short_name)
    if renamed:
        raise ConfigError(f"{option}: class {name!r} is now called {renamed!r}.")
    if kind is None and module and short_name in known_classes():
        raise ConfigError(f"{option}: class {name!r} has moved; write {short_name!r}.")
    raise ConfigError(no_class(option, name))


def no_class(option: str, name: str) -> str:
    """The sentence about a class that does not exist, or that does not fit where it stands.

    Args:
        option: where it stands.
        name: as it was given.
    """
    place = option.split("[")[0]
    if place in KINDS:
        names = [kind.__name__ for kind in STARTS if issubclass(kind, KINDS[place])]
    else:
        names = classes_for(place.rpartition(".")[2]) or list(known_classes())
    suggestion = nearest(name.rpartition(".")[2], names) or f"; known are {', '.join(names)}."
    return f"{option}: no class {name!r} for this{suggestion}"


def _import_class(module: str, name: str) -> type | None:
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None
