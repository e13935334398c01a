"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Packages whose docstrings hold examples.
PACKAGES = ("callbacks", "commands", "datamodules", "lightning_modules", "metrics", "networks")


def modules_with_examples(package: str) -> list[str]:
    """The modules of a package, at any depth, whose source holds an example."""
    modules = []
    for path in sorted(ROOT.joinpath(*package.split(".")).rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            modules.append(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return modules


@pytest.mark.parametrize("package", PACKAGES)
def test_a_listed_package_has_examples(package: str) -> None:
    assert modules_with_examples(package)


@pytest.mark.parametrize("module", [name for package in PACKAGES for name in modules_with_examples(package)])
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted
    assert not results.failed
