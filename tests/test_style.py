"""No file and no function is longer than a reader can take in at once, and no default can change."""

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
MADE_FOR_EACH = "field"  # of a dataclass: its default factory is called anew


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


def frozen_classes(source: str) -> set[str]:
    """The names of the frozen dataclasses of a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and "dataclass(frozen=True)" in map(ast.unparse, node.decorator_list)
    }


def called_defaults(source: str) -> set[str]:
    """What is called to make defaults of arguments and of the fields of dataclasses."""
    defaults: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arguments):
            defaults += [*node.defaults, *node.kw_defaults]
        if isinstance(node, ast.ClassDef) and "dataclass" in ast.unparse(node).partition("class ")[0]:
            defaults += [field.value for field in node.body if isinstance(field, ast.AnnAssign)]
    return {ast.unparse(default.func) for default in defaults if isinstance(default, ast.Call)}


def test_defaults_that_are_calls_are_of_frozen_classes() -> None:
    """They are made once for all callers."""
    sources = [path.read_text(encoding="utf-8") for path in FILES]
    called = set().union(*map(called_defaults, sources)) - {MADE_FOR_EACH, "Path"}
    frozen = set().union(*map(frozen_classes, sources))
    assert len(called) > 30
    assert called <= frozen


def test_a_default_that_could_change_is_seen() -> None:
    source = "@dataclass\nclass A:\n    b: B = B()\n\ndef c(d=D(), *, e: E = E(1)):\n    pass\n"
    assert called_defaults(source) == {"B", "D", "E"}
    assert frozen_classes(f"@dataclass(frozen=True)\n{source.partition(chr(10))[2]}") == {"A"}
