"""Misspelt configurations: one line with the nearest name instead of a parser's traceback.

Files are checked here before the parser sees them, against the signatures of the classes that they name; the
parser still checks all values.
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
from datamodules.catalogue import DATASETS, WITHOUT_IMAGES
from datamodules.chunkers import Chunker, LLMChunker, RuleChunker, SpacyChunker
from lightning_modules.catalogue import BACKBONES, METHODS
from metrics.protocols import Protocol
from networks.albef import ALBEF
from networks.groupvit import GroupViTImageEncoder
from networks.text_group import CausalTransformer, TextGroupTransformer

TOP_LEVEL = (
    "seed_everything",
    "trainer",
    "model",
    "data",
    "name",
    "runs",
    "monitor",
    "save_every",
    "ckpt_path",
    "verbose",
    "weights_only",
    "config",
)
NETWORKS = (ALBEF, CausalTransformer, GroupViTImageEncoder, TextGroupTransformer)
CHUNKERS = (Chunker, LLMChunker, RuleChunker, SpacyChunker)
OURS = {
    found.__name__: found
    for found in (*METHODS, *DATASETS, *WITHOUT_IMAGES, *CALLBACKS, *NETWORKS, *BACKBONES, *CHUNKERS)
}

UNION = re.compile(r"Does not validate against any of the Union subtypes")
WRAPPERS = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\": |Problem with given class_path '[^']+': |"
    + UNION.pattern
    + r" Subtypes: \[.+?\] Errors: - "
)


class ConfigError(Exception):
    """A configuration that cannot be used. The message is for the user."""


def check_config(argv: list[str]) -> None:
    """Checks the keys of every ``--config`` file.

    Raises:
        ConfigError: a file is missing or no YAML, or has an unknown key or class.
    """
    for path in _config_files(argv):
        if not path.is_file():
            near = (
                nearest(path.name, [found.name for found in path.parent.glob("*.yaml")])
                if path.parent.is_dir()
                else ""
            )
            raise ConfigError(f"config {path} not found{near or '.'}")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            raise ConfigError(
                f"{path}{f', line {mark.line + 1}' if mark else ''}: no valid YAML ({getattr(error, 'problem', error)})."
            ) from error
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
    """Checks every ``class_path`` and its ``init_args`` below ``content``, as far as the classes are this
    project's.
    """
    if isinstance(content, list):
        for number, item in enumerate(content):
            check_classes(item, f"{place}[{number}]")
    if not isinstance(content, dict):
        return
    name = str(content.get("class_path", ""))
    found = OURS.get(name.rsplit(".", 1)[-1])
    if (
        name
        and found is None
        and "." not in name
        and not hasattr(pl.callbacks, name)
        and not hasattr(pl.loggers, name)
    ):
        raise ConfigError(f"{place}: no class {name!r}{nearest(name, OURS)}")
    if found is not None:
        arguments = accepted_arguments(found)
        values = content.get("init_args") or {}
        check_keys(values, arguments, f"{place}: {name}")
        for key, annotation in arguments.items():
            if isinstance(values.get(key), dict) and dataclasses.is_dataclass(annotation):
                check_keys(
                    values[key],
                    [field.name for field in dataclasses.fields(annotation)],
                    f"{place}: {name}.{key}",
                )
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
            if parameter.name != "self" and parameter.kind in {
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            }:
                arguments.setdefault(parameter.name, hints.get(parameter.name))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def _config_files(argv: list[str]) -> list[Path]:
    found = [argv[n + 1] for n, argument in enumerate(argv[:-1]) if argument in {"--config", "-c"}]
    return [
        Path(path)
        for path in found
        + [argument.split("=", 1)[1] for argument in argv if argument.startswith("--config=")]
    ]


def explain(error: Exception) -> str | None:
    """What the parser or the trainer's constructor says, in one sentence, or None for any other error.

    The parser wraps what went wrong in the options and classes that lead there, and also what a class of ours
    says in its constructor.
    """
    text = re.sub(r"\s+", " ", str(error)).strip()
    if type(error).__name__ == "MisconfigurationException" or text.startswith("You selected an invalid"):
        return text
    if (
        type(error).__module__.split(".")[0] not in {"jsonargparse", "argparse"}
        and UNION.search(text) is None
    ):
        return None
    if "arguments are required" in text:
        return "no model and no data are named: give --config FILE."
    keys, text = unwrap(text)
    return _unknown_option(keys, text) or _unknown_field(text) or _wrong_value(keys, text) or text[:400]


def unwrap(text: str) -> tuple[list[str], str]:
    """The options that lead to the innermost error, and what it says."""
    keys: list[str] = []
    while found := WRAPPERS.match(text):
        if found["key"]:
            keys.append(found["key"])
        text = text[found.end() :]
    return keys, re.split(
        r" - (?:Expected an? |Not a valid |Problem with |Parser key )| Given value(?: type)?:", text
    )[0].strip()


def _unknown_option(keys: list[str], text: str) -> str | None:
    unknown = re.search(
        r"[Uu]nrecognized arguments?:? (\S+)|Option '([^']+)' is not accepted|Key '([^']+)' is not expected",
        text,
    )
    if not unknown:
        return None
    option = ".".join([*keys, next(group for group in unknown.groups() if group).split("=")[0].lstrip("-")])
    return f"no option {option!r}{nearest(option.rsplit('.', 1)[-1], known_options()) or ','} `python cli.py SUBCOMMAND --help` lists them."


def _unknown_field(text: str) -> str | None:
    unknown = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    return (
        f"{unknown[1]} has no field {unknown[2]!r}{nearest(unknown[2], known_options()) or '.'}"
        if unknown
        else None
    )


def _wrong_value(keys: list[str], text: str) -> str | None:
    wrong = re.match(r"Expected an? (.+?)\. Got value: (.*)", text)
    if not wrong:
        return None
    choices = re.findall(r"'([^']+)'", wrong[1]) if wrong[1].startswith("typing.Literal") else []
    name = re.match(r"<class '(?:.+\.)?(.+)'>", wrong[1])
    kind = f"one of {', '.join(choices)}" if choices else f"of type {name[1] if name else wrong[1]}"
    return f"{'.'.join(keys)} must be {kind}, not {wrong[2]!r}{nearest(wrong[2], choices) or '.'}"


def known_options() -> list[str]:
    """The last parts of all options of this project."""
    types = {name: kind for found in OURS.values() for name, kind in accepted_arguments(found).items()}
    fields = {
        field.name
        for kind in (Protocol, *types.values())
        if dataclasses.is_dataclass(kind)
        for field in dataclasses.fields(kind)
    }
    return sorted({*TOP_LEVEL, *types, *fields, *inspect.signature(pl.Trainer).parameters})
