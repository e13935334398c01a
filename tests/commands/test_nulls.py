"""``null`` on the command line reaches an option however deep it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonargparse
import pytest

from commands.nulls import load_value, read_none_as_null


class Inner:
    """Options two classes deep."""

    def __init__(self, number: int | None = 3, path: Path | None = None, size: int = 4) -> None:
        self.number = number


class Outer:
    """Holds another class."""

    def __init__(self, inner: Inner, number: int | None = 5) -> None:
        self.inner = inner


def parse(option: str, value: str) -> Any:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Outer, "model")
    start = {"class_path": f"{__name__}.Inner", "init_args": {"path": "a"}}
    defaults = ["--model", f"{__name__}.Outer", f"--model.inner={start}"]
    return parser.parse_args([*defaults, f"--model.{option}", value]).model.init_args


@pytest.fixture(autouse=True)
def _read_none_as_null() -> None:
    read_none_as_null()


@pytest.mark.parametrize(
    "name", ["inner.number", "inner.init_args.number", "init_args.inner.init_args.number"]
)
def test_null_two_classes_deep(name: str) -> None:
    assert parse(name, "null").inner.init_args.number is None
    assert parse(name, "7").inner.init_args.number == 7


def test_a_path_is_not_called_none() -> None:
    assert parse("inner.path", "b").inner.init_args.path == Path("b")
    assert parse("inner.path", "null").inner.init_args.path is None


def test_null_one_class_deep() -> None:
    assert parse("number", "null").number is None


def test_other_values_are_read_as_before() -> None:
    values = {"a": "a", "3": 3, "1e-3": 1e-3, "[1, a]": [1, "a"], "{a: null}": {"a": None}, "None": None}
    assert {text: load_value(text) for text in values} == values
