"""Whether this machine, its packages, and the data sets and weights that a configuration needs are in order,
and what to do about what is not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from callbacks.evaluations.results import format_rows
from commands.prepare import command, next_step
from datamodules.sets.layouts import LAYOUTS
from datamodules.sets.layouts_weights import CHECKPOINTS
from datamodules.storage.layout import Found, Layout, check

CORE = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "transformers",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
    "wandb",
)
OUTPUTS = frozenset({"cache_dir"})  # folders that are written, not needed


@dataclass(frozen=True)
class Finding:
    """Something that is needed: what it is, where it was looked for, how much of it is there, and what to do
    next (empty if nothing).
    """

    needed: str
    place: str
    state: str
    details: str = ""
    advice: str = ""

    @property
    def sound(self) -> bool:
        return not self.advice


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cli.py doctor", description=__doc__)
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        action="append",
        default=[],
        help="a configuration; several are laid over each other",
    )
    arguments = parser.parse_args(argv[1:])
    machine = [*machine_findings(), *package_findings()]
    print(show("machine", machine))
    if arguments.config:
        from commands.config_errors import ConfigError, check_config

        try:
            check_config([word for path in arguments.config for word in ("--config", str(path))])
            needed = list(config_findings(merged(arguments.config)))
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(
            show("needed by " + ", ".join(map(str, arguments.config)), needed)
            if needed
            else "\nThe configuration needs no files."
        )
    else:
        needed = []
        print(show("data sets and weights in their default folders", default_findings(), advise=False))
        print(
            "\nnext: python cli.py prepare NAME for one of them; python cli.py doctor --config FILE for what a configuration needs."
        )
    return 0 if all(finding.sound for finding in [*machine, *needed]) else 1


def show(title: str, findings: list[Finding], advise: bool = True) -> str:
    """A table, and below it the advice for each thing that is not in order."""
    rows = [[finding.needed, finding.place, finding.state, finding.details] for finding in findings]
    advice = (
        dict.fromkeys(f"  {finding.needed}: {finding.advice}" for finding in findings if finding.advice)
        if advise
        else {}
    )
    return "\n".join(
        [
            f"\n{title}\n",
            format_rows(["what", "where", "state", "details"], rows),
            *(["", *advice] if advice else []),
        ]
    )


# The machine.


def machine_findings() -> Iterator[Finding]:
    """Python, cores, memory, disk and accelerator."""
    version = platform.python_version()
    old = "" if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed."
    yield Finding("Python", sys.executable, version, advice=old)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0.0
    yield Finding(
        "processor", platform.machine(), f"{cores} cores", f"{memory:.0f} GB of memory" if memory else ""
    )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding(
        "free disk",
        str(Path.cwd()),
        f"{free:,.0f} GB",
        advice="" if free > 1 else "less than 1 GB is free; checkpoints will not fit.",
    )
    yield _accelerator()


def _accelerator() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "", "unknown", "torch is missing")
    import torch

    if torch.cuda.is_available():
        properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        names = ", ".join(f"{found.name} ({found.total_memory / 1e9:.0f} GB)" for found in properties)
        return Finding("GPU", f"CUDA {torch.version.cuda}", str(len(properties)), names)
    if torch.backends.mps.is_available():
        return Finding("GPU", "Metal", "1")
    return Finding("GPU", "", "none", "trains on the processor")


def package_findings() -> Iterator[Finding]:
    """The core packages against what the project asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = {
            found.name: found.specifier
            for found in map(Requirement, metadata.requires("weakground") or [])
            if found.marker is None
        }
    except metadata.PackageNotFoundError:
        wanted = {}
    for name in dict.fromkeys((*CORE, *wanted)):
        specifier = str(wanted.get(name, ""))
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(
                name,
                "",
                "missing",
                specifier,
                "make setup, or pip install --constraint constraints.txt --editable .",
            )
            continue
        good = name not in wanted or wanted[name].contains(version, prereleases=True)
        yield Finding(name, "", version, specifier, "" if good else f"{specifier} is needed: make setup.")


# Data sets and weights.


def default_findings() -> list[Finding]:
    """Every data set and checkpoint in its default folder."""
    data = [finding_of(name, layout, layout.folder({}), {}) for name, layout in LAYOUTS.items()]
    return data + [
        path_finding(name, layout.folder({}) / layout.parts[0].path) for name, layout in CHECKPOINTS.items()
    ]


def finding_of(name: str, layout: Layout, root: Path, options: Mapping[str, Any]) -> Finding:
    """One data set or checkpoint as a whole: how many of its files are there, and the next command."""
    found = check(layout, root, options)
    lacking = [part for part in found if part.lacking]
    needed = [part for part in found if not part.part.optional]
    known = {
        key: value
        for key, value in options.items()
        if key in layout.options and str(value) != layout.options[key]
    }
    if not lacking:
        partial = [part for part in found if part.state == "partial"]
        details = "; ".join(map(_count, (partial or needed)[:2]))
        return Finding(name, str(root), "partial" if partial else "complete", details)
    details = "; ".join(map(_count, lacking[:2])) + (" ..." if len(lacking) > 2 else "")
    missing = all(part.state == "missing" for part in needed)
    advice = command(name, layout, root, known) if missing else next_step(name, layout, root, found, known)
    return Finding(name, str(root), "missing" if missing else "incomplete", details, advice)


def _count(part: Found) -> str:
    if not part.found:
        return f"no {part.part.what}"
    return (
        f"{part.found:,}{'' if part.expected is None else f' of {part.expected:,}'} {part.part.what}"
        if part.found > 1
        else part.part.what
    )


def config_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    """What a configuration needs: the data sets below ``data``, and the files that ``model`` and ``data``
    name, each once.
    """
    seen: set[tuple[str, str]] = set()
    for kind, values in [*class_nodes(config.get("data")), *class_nodes(config.get("model"))]:
        for finding in _class_findings(kind, values):
            if (key := (finding.needed, finding.place)) not in seen:
                seen.add(key)
                yield finding


def _class_findings(kind: type, values: Mapping[str, Any]) -> Iterator[Finding]:
    """The layout of a data set, and every file or folder that an argument of type Path names."""
    defaults, paths = signature_of(kind)
    options = {**defaults, **values}
    layout = LAYOUTS.get(kind.__name__)
    read_by_layout: set[str] = set()
    if layout is not None:
        read_by_layout = {"root", *layout.options, *(part.given[0] for part in layout.parts if part.given)}
        root = options.get("root")
        if root is None and layout.without:
            yield Finding(kind.__name__, "-", "not needed", f"uses {layout.without}")
        else:
            yield finding_of(
                kind.__name__, layout, layout.folder(options) if root is None else Path(root), options
            )
    for name in paths:
        value = options.get(name)
        if isinstance(value, (str, Path)) and name not in OUTPUTS | read_by_layout:
            yield path_finding(f"{kind.__name__}.{name}", Path(value))


def signature_of(kind: type) -> tuple[dict[str, Any], list[str]]:
    """The defaults of a class's arguments, and which arguments take a path; what a class passes on untyped is
    typed by its base.
    """
    import inspect
    import typing

    defaults: dict[str, Any] = {}
    paths: dict[str, None] = {}
    for base in reversed(kind.__mro__):
        if "__init__" in vars(base):
            hints = typing.get_type_hints(vars(base)["__init__"])
            paths |= dict.fromkeys(
                name for name, hint in hints.items() if Path in (hint, *typing.get_args(hint))
            )
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            defaults |= {
                name: found.default for name, found in parameters.items() if found.default is not found.empty
            }
    return defaults, list(paths)


def path_finding(name: str, path: Path) -> Finding:
    """A file or folder that an option names; weights that are published are known by the name of their file."""
    if path.exists():
        size = (
            f"{path.stat().st_size / 1e6:,.1f} MB"
            if path.is_file()
            else f"{sum(1 for _ in path.iterdir()):,} entries"
        )
        return Finding(name, str(path), "found", size)
    for key, layout in CHECKPOINTS.items():
        steps = Path(layout.parts[0].path).parts
        if path.parts[-len(steps) :] == steps:
            root = Path(*path.parts[: -len(steps)])  # such that prepare puts it there
            advice = (
                layout.requires if layout.had == "by hand" else f"{command(key, layout, root, {})} --download"
            )
            return Finding(name, str(path), "missing", layout.title, advice)
    return Finding(
        name,
        str(path),
        "missing",
        "",
        f"put it there, or name another place with the option {name.rsplit('.', 1)[-1]}.",
    )


def class_nodes(content: Any) -> Iterator[tuple[type, Mapping[str, Any]]]:
    """Every class of this project below ``content`` with its arguments."""
    from commands.options import known_classes

    if isinstance(content, list):
        for item in content:
            yield from class_nodes(item)
    if isinstance(content, dict):
        kind = known_classes().get(str(content.get("class_path", "")).rsplit(".", 1)[-1])
        if kind is not None:
            yield kind, content.get("init_args") or {}
        for value in content.values():
            yield from class_nodes(value)


def merged(paths: list[Path]) -> dict[str, Any]:
    """Several configurations, a later one over the earlier ones; another class drops the arguments of the one
    that it replaces.
    """
    import yaml

    config: dict[str, Any] = {}
    for path in paths:
        config = _overlay(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    return config


def _overlay(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        return above
    return {**below, **{key: _overlay(below.get(key), value) for key, value in above.items()}}
