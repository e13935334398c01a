"""The documentation names only files, classes and commands that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from commands import COMMANDS
from tests.test_style import FILES as STYLE_FILES
from tests.test_style import PACKAGES

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "configs").rglob("*.md")),
]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
FOLDERS = {*PACKAGES, "configs", "docs", "tests"}  # a path that begins otherwise is the user's own
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(text: str) -> set[str]:
    """The targets of links to files, without their anchors."""
    targets = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    return {target for target in targets if target and "://" not in target}


def code_spans(text: str) -> set[str]:
    """What stands between single backticks, outside of code blocks."""
    return set(re.findall(r"`([^`\n]+)`", FENCE.sub("", text)))


def paths(text: str) -> Iterator[str]:
    """The paths of this project among the code spans. A path ends before a part that stands for the reader's
    own name: ``my_...``, ``<...>``, a pattern, or capitals.
    """
    for span in code_spans(text):
        parts = span.rstrip("/").split("/")
        if parts[0] not in FOLDERS or (len(parts) == 1 and not span.endswith("/")) or " " in span:
            continue
        fixed = []
        for part in parts:
            if re.search(r"^(test_)?my_|[<{*]|^[A-Z_]+(\.|$)", part):
                break
            fixed.append(part)
        yield "/".join(fixed)


def dotted_names(text: str) -> set[str]:
    """The modules, classes and functions of this project among the code spans."""
    spans = {span.partition("(")[0] for span in code_spans(text)}
    pattern = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+")
    files = (".csv", ".json", ".my_")
    return {span for span in spans if pattern.fullmatch(span) and not any(end in span for end in files)}


def subcommands(text: str) -> set[str]:
    """What follows ``python cli.py``, but for placeholders in capitals and options."""
    return set(re.findall(r"python cli\.py\s+([a-z][\w-]*)", text))


def named_configs(text: str) -> set[str]:
    """The values of ``--config`` that are files of this project."""
    values = re.findall(r"--config[ =](configs/[\w./-]+)", text)
    return {value.rstrip(".") for value in values if "/my_" not in value}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [target for target in links(text) if not (page.parent / target).exists()] == []
    assert [path for path in paths(text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_names_of_classes_and_functions_exist(page: Path) -> None:
    for dotted_name in dotted_names(page.read_text(encoding="utf-8")):
        resolve_name(dotted_name)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_snippets_run(page: Path) -> None:
    snippets = re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    namespace = {"__name__": "tests.snippets"}
    for snippet in snippets:
        exec(snippet, namespace)


@pytest.mark.parametrize("file", [*PAGES, *CONFIGS], ids=name)
def test_command_lines_name_what_exists(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert subcommands(text) <= set(COMMANDS)
    assert [config for config in named_configs(text) if not (ROOT / config).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_has_short_lines(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    prose = [line for line in text.splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in prose if len(line) > 120] == []


def test_questions_quote_what_the_program_says() -> None:
    """A heading in backticks is a message, whose pieces stand in the source of one file."""
    messages = re.findall(r"^### `([^`]+)`$", (ROOT / "docs" / "faq.md").read_text("utf-8"), re.MULTILINE)
    sources = [re.sub(r'"\n +f?"', "", path.read_text("utf-8")) for path in STYLE_FILES]
    for message in messages:
        pieces = [piece.strip(" ,") for piece in message.split("...")]
        assert any(all(piece in source for piece in pieces) for source in sources), message


def test_the_site_has_every_page() -> None:
    listed = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages)


def test_what_does_not_exist_is_seen() -> None:
    text = "[a](gone.md#b) `tests/gone.py` `tests/my_set.py` `metrics.gone` `data/x`\n"
    assert links(text) == {"gone.md"}
    assert sorted(paths(text)) == ["tests", "tests/gone.py"]
    assert dotted_names(text) == {"metrics.gone"}
    commands = "python cli.py fti --config configs/gone.yaml --config configs/my_method.yaml"
    assert subcommands(commands) == {"fti"}
    assert named_configs(commands) == {"configs/gone.yaml"}
