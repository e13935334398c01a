"""Who may import whom, read from the source."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "networks",
    "metrics",
    "datamodules",
    "lightning_modules",
    "callbacks",
    "commands",
    "weakground",
    "cli",
    "benchmarks",
    "tests",
)
# What a package may import besides itself; a name with a dot is a single module.
ALLOWED: dict[str, set[str]] = {
    "networks": set(),
    "metrics": set(),
    "datamodules": set(),
    "lightning_modules": {"networks", "datamodules.batches", "datamodules.handover"},
    "callbacks": {
        "metrics",
        "datamodules.accounts",
        "datamodules.batches",
        "datamodules.handover",
        "datamodules.storage.whole_files",
        "lightning_modules.base",
        "lightning_modules.capabilities",
        "lightning_modules.errors",
        "networks.pamr",  # no network, but a filter of masks
    },
    "commands": {"networks", "metrics", "datamodules", "lightning_modules", "callbacks", "weakground"},
    "weakground": {"networks", "metrics", "datamodules", "lightning_modules", "callbacks", "commands", "cli"},
    "cli": {"commands", "callbacks.run.signals", "weakground"},
}
NOT_IN_NETWORKS = {"lightning", "pytorch_lightning", "PIL", "cv2"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path): path
    for name in PACKAGES
    for path in [ROOT / f"{name}.py", *(ROOT / name).rglob("*.py")]
    if path.is_file()
}


def imported(name: str, top_level_only: bool = False) -> set[str]:
    """Every module that a file imports, as far as it says so; of ours the exact module, e.g.
    ``datamodules.batches``.
    """
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            within = {f"{node.module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= within or {str(node.module)}
    return found


def room_of(name: str) -> str:
    """The package of a module; a method's own commands belong to the commands, wherever they lie."""
    parts = name.split(".")
    if parts[0] == "lightning_modules" and "commands" in parts:
        return "commands"
    return parts[0]


def may_import(package: str, module: str) -> bool:
    return any(
        module == allowed or module.startswith(f"{allowed}.") for allowed in {package, *ALLOWED[package]}
    )


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_keep_to_themselves(package: str) -> None:
    own = [name for name in FILES if room_of(name) == package]
    assert own
    wrong = [
        (name, module)
        for name in own
        for module in imported(name)
        if module.split(".")[0] in PACKAGES and not may_import(package, module)
    ]
    assert wrong == []


def test_networks_read_no_files_and_know_no_trainer() -> None:
    wrong = [
        (name, module)
        for name in FILES
        if name.startswith("networks")
        for module in imported(name)
        if module.split(".")[0] in NOT_IN_NETWORKS
    ]
    assert wrong == []


def test_no_cycles() -> None:
    graph = {
        name: {module for module in imported(name, top_level_only=True) if module in FILES and module != name}
        for name in FILES
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert set(order) == set(FILES)


def test_the_rules_catch_what_they_forbid() -> None:
    assert not may_import("callbacks", "datamodules.kinds.captions")
    assert not may_import("callbacks", "datamodules.batches_of_ours")
    assert may_import("callbacks", "datamodules.batches")
    assert may_import("lightning_modules", "lightning_modules.hist.losses")
    assert not may_import("networks", "metrics.boxes")
    assert "torch" in imported("networks.layers.class_activation")
