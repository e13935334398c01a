"""Whether this machine, its packages, and the data sets and weights that a configuration needs are in order,
and what to do about what is not.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from callbacks.evaluations.results import format_rows
from commands.machine import (
    Finding,
    machine_findings,
    package_findings,
    packaged_weights_findings,
)
from commands.option_parser import option_parser
from commands.prepare import next_step
from datamodules.published_weights import WEIGHTS
from datamodules.storage.layout import Layout, instructions
from datamodules.storage.local_copy import LocalCopy, PartState
from lightning_modules.project_files import project_file

OUTPUTS = frozenset({"cache_dir"})  # folders that are written, not needed


def main(argv: list[str]) -> int:
    """Runs the subcommand; returns 0 if all that is needed is in order, 1 otherwise."""
    parser = option_parser("doctor", __doc__)
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        action="append",
        default=[],
        help="a configuration; several are laid over each other",
    )
    arguments = parser.parse_args(argv[1:])
    machine = [*machine_findings(), *package_findings(), *packaged_weights_findings()]
    print(show("machine", machine))
    sound = all(finding.sound for finding in machine)
    if any(importlib.util.find_spec(name) is None for name in ("torch", "lightning")):
        print("\nData sets and weights are looked for once the packages above are installed.")
        return 1
    if arguments.config:
        return max(0 if sound else 1, diagnose_config(arguments.config))
    print(show("data sets and weights in their default folders", default_findings(), advise=False))
    print(
        "\nnext: python cli.py prepare NAME for one of them; "
        "python cli.py doctor --config FILE for what a configuration needs."
    )
    return 0 if sound else 1


def diagnose_config(paths: list[Path]) -> int:
    """Prints what configurations need, laid over each other; returns 0 if all of it is in order."""
    from commands.command_line import ConfigError, config_files
    from commands.config_errors import check_config

    words: list[str] = []
    for path in paths:
        words += ["--config", str(path)]
    try:
        check_config(words)
        findings = list(config_findings(merged(config_files(words))))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if findings:
        print(show("needed by " + ", ".join(map(str, paths)), findings))
    else:
        print("\nThe configuration needs no files.")
    return 0 if all(finding.sound for finding in findings) else 1


def show(title: str, findings: list[Finding], advise: bool = True) -> str:
    """A table, and below it the advice for each thing that is not in order."""
    rows = [[finding.needed, finding.place, finding.state, finding.details] for finding in findings]
    lines = [f"\n{title}\n", format_rows(["what", "where", "state", "details"], rows)]
    advice = [f"  {finding.needed}: {finding.advice}" for finding in findings if finding.advice]
    if advise and advice:
        lines += ["", *dict.fromkeys(advice)]
    return "\n".join(lines)


def default_findings() -> list[Finding]:
    """Every data set and all published weights in their default folders."""
    from datamodules.catalogue import layouts

    findings: list[Finding] = []
    for layout in layouts().values():
        findings += copy_findings(LocalCopy(layout, layout.folder({})))
    findings = list(dict.fromkeys(findings))  # an index may lie in the folder of several data sets
    for name, layout in WEIGHTS.items():
        findings.append(path_finding(name, layout.folder({}) / layout.parts[0].path))
    return findings


def copy_findings(copy: LocalCopy, cache_dir: Path = Path(".cache")) -> Iterator[Finding]:
    """A data set as a whole, and those of its indexes that have been damaged since they were written."""
    from datamodules.storage.index import index_files
    from datamodules.storage.index_checksum import damaged_indexes

    yield copy_finding(copy)
    for path, advice in damaged_indexes(index_files(copy.root, cache_dir)).items():
        yield Finding("index", str(path), "damaged", "delete it, and it will be built anew", advice)


def copy_finding(copy: LocalCopy) -> Finding:
    """A data set as a whole: how many of its files are there, and the next command."""
    name = copy.layout.name
    root = str(copy.root)
    states = copy.check()
    needed = [state for state in states if not state.part.optional]
    lacking = [state for state in states if state.lacking]
    if not lacking:
        partial = [state for state in states if state.state == "partial"]
        details = "; ".join(map(_describe, (partial or needed)[:2]))
        return Finding(name, root, "partial" if partial else "complete", details)
    details = "; ".join(map(_describe, lacking[:2]))
    if len(lacking) > 2:
        details += " ..."
    if all(state.state == "missing" for state in needed):
        return Finding(name, root, "missing", details, copy.command())
    return Finding(name, root, "incomplete", details, next_step(copy, states))


def _describe(state: PartState) -> str:
    """How much of a part is there, in words."""
    part = state.part
    if state.files == 0:
        return f"no {part.content}"
    if state.files == 1:
        return part.content
    if part.count is None:
        return f"{state.files:,} {part.content}"
    return f"{state.files:,} of {part.count:,} {part.content}"


def config_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    """What a configuration needs: the data sets below ``data``, and the files that ``model`` and ``data``
    name, each once.
    """
    places: set[tuple[str, str]] = set()
    for kind, values in [*class_nodes(config.get("data")), *class_nodes(config.get("model"))]:
        for finding in class_findings(kind, values):
            place = (finding.needed, finding.place)
            if place not in places:
                places.add(place)
                yield finding


def class_findings(kind: type, values: Mapping[str, Any]) -> Iterator[Finding]:
    """What an object of a configuration needs: its files if it is a data set, and every file or folder that
    an argument of type ``Path`` names.
    """
    defaults, paths = signature_of(kind)
    options = {**defaults, **values}
    layout: Layout | None = getattr(kind, "layout", None)
    read_by_layout: set[str] = set()
    if layout is not None:
        folder_options = [part.folder_option[0] for part in layout.parts if part.folder_option]
        read_by_layout = {"root", *layout.options, *folder_options}
        yield from _layout_findings(layout, options)
    for name, words_of_argument in paths.items():
        value = options.get(name)
        if value in words_of_argument or name in OUTPUTS | read_by_layout:
            continue
        if isinstance(value, (str, Path)):
            yield path_finding(f"{kind.__name__}.{name}", Path(value))


def _layout_findings(layout: Layout, options: Mapping[str, Any]) -> Iterator[Finding]:
    root = options.get("root")
    if root is None and layout.fallback:
        yield Finding(layout.name, "-", "not needed", f"uses {layout.fallback}")
        return
    if not layout.parts_for(options):
        yield Finding(layout.name, "-", "not needed", "other files are named")
        return
    folder = layout.folder(options) if root is None else Path(root)
    yield from copy_findings(LocalCopy(layout, folder, options), Path(options.get("cache_dir", ".cache")))


def signature_of(kind: type) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The defaults of a class's arguments, and which arguments take a path, with the words that each takes in
    the place of one, such as ``package``; what a class passes on untyped is typed by its base.
    """
    defaults: dict[str, Any] = {}
    paths: dict[str, list[Any]] = {}
    for base in reversed(kind.__mro__):
        constructor = vars(base).get("__init__")
        if constructor is None:
            continue
        for name, hint in typing.get_type_hints(constructor).items():
            kinds = typing.get_args(hint)
            if Path in (hint, *kinds):
                literals = [one for one in kinds if typing.get_origin(one) is typing.Literal]
                paths[name] = [word for literal in literals for word in typing.get_args(literal)]
        for name, parameter in inspect.signature(constructor).parameters.items():
            if parameter.default is not parameter.empty:
                defaults[name] = parameter.default
    return defaults, paths


def path_finding(name: str, path: Path) -> Finding:
    """A file or folder that an option names; published weights are known by the name of their file."""
    path = project_file(path)
    if path.is_file():
        return Finding(name, str(path), "present", f"{path.stat().st_size / 1e6:,.1f} MB")
    if path.exists():
        return Finding(name, str(path), "present", f"{sum(1 for _ in path.iterdir()):,} entries")
    for layout in WEIGHTS.values():
        steps = Path(layout.parts[0].path).parts
        if path.parts[-len(steps) :] == steps:
            root = Path(*path.parts[: -len(steps)])  # such that prepare puts it there
            by_hand = instructions(list(layout.parts))
            advice = by_hand or LocalCopy(layout, root).command(download=True)
            return Finding(name, str(path), "missing", layout.title, advice)
    option = name.rsplit(".", 1)[-1]
    advice = f"put it there, or name another place with the option {option}."
    return Finding(name, str(path), "missing", "", advice)


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
    overlaid = {key: _overlay(below.get(key), value) for key, value in above.items()}
    return {**below, **overlaid}
