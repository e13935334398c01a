"""Commands that end with one line, and parts of a small configuration to be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import cli

Change = Callable[[dict[str, Any]], Any]


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong command ends with."""
    capsys.readouterr()
    code = cli.main(argv)
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if not line.startswith("INFO: ")]
    assert code in {1, 2}, printed.err
    assert "Traceback" not in printed.err
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def model(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the method."""
    return config["model"]["init_args"]


def backbone(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of its backbone."""
    return model(config)["backbone"]["init_args"]


def network(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the backbone's network."""
    return backbone(config)["network"]["init_args"]


def rename(where: dict[str, Any], old: str, new: str) -> None:
    where[new] = where.pop(old)
