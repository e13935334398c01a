"""Misspelt configurations: one line with the nearest name instead of a parser's traceback.

Files are checked here before the parser sees them, against the signatures of the classes that they name; the parser still checks all values.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml

from callbacks.catalogue import CALLBACKS
from commands.suggest import nearest
from datamodules.catalogue import DATASETS
from datamodules.chunkers import Chunker, LLMChunker, RuleChunker, SpacyChunker
from lightning_modules.catalogue import METHODS
from networks.albef import ALBEF

TOP_LEVEL = ("seed_everything", "trainer", "model", "data", "name", "runs", "monitor", "save_every", "ckpt_path", "verbose", "weights_only", "config")
OURS = {found.__name__: found for found in (*METHODS, *DATASETS, *CALLBACKS, ALBEF, Chunker, RuleChunker, SpacyChunker, LLMChunker)}


class ConfigError(Exception):
    """A configuration that cannot be used. The message is for the user."""


def check_config(argv: list[str]) -> None:
    """Checks the keys of every ``--config`` file.

    Raises:
        ConfigError: a file is missing or no YAML, or has an unknown key or class.
    """
    for path in _config_files(argv):
        if not path.is_file():
            near = nearest(path.name, [found.name for found in path.parent.glob("*.yaml")]) if path.parent.is_dir() else ""
            raise ConfigError(f"config {path} not found{near}.")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            raise ConfigError(f"{path}{f', line {mark.line + 1}' if mark else ''}: no valid YAML ({getattr(error, 'problem', error)}).") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path} must hold keys such as model, data and trainer.")
        check_keys(content, TOP_LEVEL, str(path))
        check_keys(content.get("trainer") or {}, inspect.signature(pl.Trainer).parameters, f"{path}: trainer")
        for key in ("model", "data", "trainer"):
            check_classes(content.get(key), f"{path}: {key}")


def check_keys(content: dict, known: Iterable[str], place: str) -> None:
    """Raises `ConfigError` for the first key of ``content`` that is not in ``known``."""
    known = list(known)
    for key in content:
        if key not in known:
            raise ConfigError(f"{place} has no key {key!r}{nearest(str(key), known)}")


def check_classes(content: Any, place: str) -> None:
    """Checks every ``class_path`` and its ``init_args`` below ``content``, as far as the classes are this project's."""
    if isinstance(content, list):
        for number, item in enumerate(content):
            check_classes(item, f"{place}[{number}]")
    if not isinstance(content, dict):
        return
    name = str(content.get("class_path", ""))
    found = OURS.get(name.rsplit(".", 1)[-1])
    if name and found is None and "." not in name and not hasattr(pl.callbacks, name) and not hasattr(pl.loggers, name):
        raise ConfigError(f"{place}: no class {name!r}{nearest(name, OURS)}")
    if found is not None:
        arguments = accepted_arguments(found)
        values = content.get("init_args") or {}
        check_keys(values, arguments, f"{place}: {name}")
        for key, annotation in arguments.items():
            if isinstance(values.get(key), dict) and dataclasses.is_dataclass(annotation):
                check_keys(values[key], [field.name for field in dataclasses.fields(annotation)], f"{place}: {name}.{key}")
    for key, value in content.items():
        check_classes(value, place if key == "init_args" else f"{place}.{key}")


def accepted_arguments(found: type) -> dict[str, Any]:
    """The arguments of a class with their types; where it passes ``**kwargs`` on, its base classes' too."""
    arguments: dict[str, Any] = {}
    for base in found.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        hints = typing.get_type_hints(vars(base)["__init__"])
        for parameter in parameters:
            if parameter.name != "self" and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
                arguments.setdefault(parameter.name, hints.get(parameter.name))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def _config_files(argv: list[str]) -> list[Path]:
    found = [argv[n + 1] for n, argument in enumerate(argv[:-1]) if argument in {"--config", "-c"}]
    return [Path(path) for path in found + [argument.split("=", 1)[1] for argument in argv if argument.startswith("--config=")]]


def explain(error: Exception) -> str | None:
    """A parser's error in one sentence, or None if the error is not the parser's.

    The parser also wraps what a class of ours says in its constructor; then that is the sentence.
    """
    text = re.sub(r"\s+", " ", str(error))
    ours = re.search(r"Problem with given class_path '([^']+)': (.+?) - Expected a <class 'NoneType'>", text)
    if ours:
        return ours[2] if ours[1].split(".")[0] in {"networks", "lightning_modules", "datamodules", "callbacks"} else f"{ours[1]}: {ours[2]}"
    if type(error).__module__.split(".")[0] not in {"jsonargparse", "argparse"}:
        return None
    unknown = re.search(r"[Uu]nrecognized arguments?:? (\S+)", text) or re.search(r"Option '([^']+)' is not accepted|Key '([^']+)' is not expected", text)
    if unknown:
        option = next(group for group in unknown.groups() if group).split("=")[0]
        return f"no option {option!r}{nearest(option.rsplit('.', 1)[-1].lstrip('-'), known_options())}; `python cli.py SUBCOMMAND --help` lists them."
    return re.split(r" Given value type:", text)[0][:400]


def known_options() -> list[str]:
    """The last parts of all options of this project."""
    names = {argument for found in OURS.values() for argument in accepted_arguments(found)}
    return sorted({*TOP_LEVEL, *names, *inspect.signature(pl.Trainer).parameters})
