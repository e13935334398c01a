"""Every configuration says what it is for, and names only classes and keys that exist.

That the parser takes its values, commands/test_parser.py tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.config_errors import check_config, find_class
from tests.tiny import ROOT

CONFIGS = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name not in {"ablation", "leaderboards", "cluster", "sweeps"}
)  # tables of runs, clusters and sweeps: test_ablation.py, test_launch.py and test_sweep.py of tests/commands
WHOLE = [
    path for path in CONFIGS if "class_path" in str((yaml.safe_load(path.read_text()) or {}).get("model"))
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def header(path: Path) -> str:
    return re.match(r"(#.*\n)*", path.read_text(encoding="utf-8"))[0]  # type: ignore[index]


def class_paths(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        if "class_path" in content:
            yield content["class_path"]
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from class_paths(item)


def test_there_are_configurations() -> None:
    assert len(CONFIGS) >= 2
    assert WHOLE


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_it_begins_with_what_it_is_for(path: Path) -> None:
    text = header(path)
    assert text.count("\n") >= 2
    assert max(len(line) for line in text.splitlines()) <= 120
    assert f"python cli.py fit --config {name(path)}" in text or "--config" in text
    assert re.search(r"[Ee]xpect|cost|[Nn]ot measured", text), "neither the expected result nor the cost"


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_its_keys_and_classes_exist(path: Path) -> None:
    check_config(["fit", "--config", str(path)])
    for class_path in class_paths(yaml.safe_load(path.read_text(encoding="utf-8"))):
        find_class(class_path, "class_path")
