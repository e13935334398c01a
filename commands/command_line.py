"""What a command line says by itself, before any configuration is read. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commands.suggest import nearest
from lightning_modules.project_files import project_file

CONFIG_OPTIONS = ("--config", "-c")


class ConfigError(Exception):
    """A configuration or a command line that cannot be used. The message is for the user."""


def options_in(argv: list[str]) -> Iterator[tuple[str, str]]:
    """The options of a command line with their values; an empty one for an option that has none.

    Example:
        >>> list(options_in(["fit", "--name", "a", "--runs=b", "--help"]))
        [('--name', 'a'), ('--runs', 'b'), ('--help', '')]
    """
    for position, word in enumerate(argv):
        if not word.startswith("-") or not word.lstrip("-")[:1].isalpha():
            continue
        option, equals, value = word.partition("=")
        if not equals and position + 1 < len(argv) and not argv[position + 1].startswith("--"):
            value = argv[position + 1]
        yield option, value


def option_value(argv: list[str], name: str) -> str | None:
    """The value of an option, as its last mention has it; None if it is not given.

    Example:
        >>> option_value(["fit", "--runs", "a", "--runs=b"], "--runs")
        'b'
    """
    values = [value for option, value in options_in(argv) if option == name and value]
    return values[-1] if values else None


def config_paths(argv: list[str]) -> list[Path]:
    """The configuration files that a command line names.

    Example:
        >>> [path.name for path in config_paths(["fit", "-c", "a.yaml", "--config=b.yaml"])]
        ['a.yaml', 'b.yaml']
    """
    return [Path(value) for option, value in options_in(argv) if option in CONFIG_OPTIONS and value]


def config_files(argv: list[str]) -> list[Path]:
    """As `config_paths`, where they are, see `project_file`. Raises `ConfigError` if one is not there."""
    return [config_file(path) for path in config_paths(argv)]


def config_file(path: Path) -> Path:
    """A configuration, in the current folder or of the project. Raises `ConfigError` if it is not there."""
    file = project_file(path)
    if not file.is_file():
        folder = project_file(path.parent)
        neighbours = [neighbour.name for neighbour in folder.glob("*.yaml")]
        raise ConfigError(f"config {path} not found{nearest(path.name, neighbours) or '.'}")
    return file


def with_config_files(argv: list[str]) -> list[str]:
    """A command line whose configurations are named as they are found, see `config_file`."""
    places = {str(path): str(config_file(path)) for path in config_paths(argv)}
    words = []
    for position, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if equals and option in CONFIG_OPTIONS:
            word = f"{option}={places[str(Path(value))]}"
        elif position and argv[position - 1] in CONFIG_OPTIONS:
            word = places.get(str(Path(word)), word)
        words.append(word)
    return words
