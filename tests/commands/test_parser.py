"""The parser takes every configuration and every row of every table: all types are checked.

Nothing is built, since the papers' sizes are slow on a laptop.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from commands import trainer
from commands.tables import arguments, read_table
from commands.trainer import WeakgroundCLI
from tests.commands.test_ablation import TABLES
from tests.test_configs import WHOLE, name
from tests.tiny import ROOT


def commands() -> list[list[str]]:
    """A command for each row of each table at each scale, and one for each configuration alone."""
    rows = [
        ["fit", *arguments(table, row, scale, 0, Path("runs"))]
        for table in map(read_table, TABLES)
        for row in (*table.stages, *table.rows)
        for scale in row.config
    ]
    return rows + [["fit", "--config", name(path)] for path in WHOLE]


def together(commands: list[list[str]]) -> list[list[str]]:
    """Fewer commands with the same options, since each takes a second to be parsed: one for each choice of
    options of a configuration, and those that do not contradict each other become one.
    """
    merged: list[dict[str, str]] = []
    choices: set[tuple[str, ...]] = set()
    for command in commands:
        options: dict[str, str] = {}
        configs: list[str] = []
        for option, value in zip(command[1::2], command[2::2], strict=True):
            if option == "--config":
                configs.append(value)
            options[option] = re.sub(r"^runs/.*\.ckpt$", "any.ckpt", value)
        options["--config"] = " --config ".join(configs)
        options["--name"] = "any"
        choice = (options["--config"], *options)
        if choice in choices:
            continue
        choices.add(choice)
        for others in merged:
            if all(others.get(name, value) == value for name, value in options.items()):
                others.update(options)
                break
        else:
            merged.append(options)
    return [["fit", *_words(options)] for options in merged]


def _words(options: dict[str, str]) -> list[str]:
    words: list[str] = []
    for option, value in options.items():
        words += [option, *value.split()] if option == "--config" else [option, value]
    return words


@pytest.mark.parametrize("command", together(commands()), ids=lambda command: command[2])
def test_its_values_are_taken(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parsed: list[Any] = []

    class Parsed(Exception):
        pass

    def stop(command: WeakgroundCLI) -> None:
        parsed.append(command.config[command.subcommand])
        raise Parsed

    monkeypatch.setattr(WeakgroundCLI, "before_instantiate_classes", stop)
    with pytest.raises(Parsed):
        trainer.run(command)
    assert parsed[0].model.class_path.startswith("lightning_modules.")
    assert parsed[0].data.class_path.startswith("datamodules.")


def test_every_configuration_is_among_them() -> None:
    kept = {command[2] for command in together(commands()) if command.count("--config") == 1}
    assert kept >= {name(path) for path in WHOLE}


def test_commands_are_merged_without_losing_an_option() -> None:
    commands = [
        ["fit", "--config", "a", "--name", "1", "--x", "1", "--w", "runs/1/last.ckpt"],
        ["fit", "--config", "a", "--name", "2", "--y", "1", "--w", "runs/2/last.ckpt"],
        ["fit", "--config", "a", "--name", "3", "--x", "2"],
        ["fit", "--config", "a", "--name", "4", "--x", "2", "--z", "1"],
        ["fit", "--config", "b", "--name", "5"],
    ]
    first = ["fit", "--config", "a", "--name", "any", "--x", "1", "--w", "any.ckpt", "--y", "1"]
    assert together(commands) == [
        first,
        ["fit", "--config", "a", "--name", "any", "--x", "2", "--z", "1"],
        ["fit", "--config", "b", "--name", "any"],
    ]
