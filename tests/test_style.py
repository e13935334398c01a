"""No file and no function is longer than a reader can take in at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "benchmarks",
    "callbacks",
    "commands",
    "datamodules",
    "lightning_modules",
    "metrics",
    "networks",
    "weakground",
)
FILES = [ROOT / "cli.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines, docstring and decorators included


def functions_longer_than(lines: int, source: str) -> list[str]:
    """Name and length of each function or method of more than so many lines."""
    long_functions = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            length = node.end_lineno - first + 1  # type: ignore[operator]
            if length > lines:
                long_functions.append(f"{node.name}: {length} lines")
    return long_functions


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    assert functions_longer_than(LONGEST_FUNCTION, source) == []


def test_a_long_function_is_seen() -> None:
    source = "class A:\n    @property\n    def b(self):\n        x = 1\n        return x\n"
    assert functions_longer_than(3, source) == ["b: 4 lines"]
    assert functions_longer_than(4, source) == []
