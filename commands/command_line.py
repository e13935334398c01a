"""What a command line says by itself, before any configuration is read. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commands.suggest import nearest


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
    return [Path(value) for option, value in options_in(argv) if option in {"--config", "-c"} and value]


def config_files(argv: list[str]) -> list[Path]:
    """As `config_paths`. Raises `ConfigError` if one of them is not there."""
    paths = config_paths(argv)
    for path in paths:
        if not path.is_file():
            neighbours = [neighbour.name for neighbour in path.parent.glob("*.yaml")]
            raise ConfigError(f"config {path} not found{nearest(path.name, neighbours) or '.'}")
    return paths
