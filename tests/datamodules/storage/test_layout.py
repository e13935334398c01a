"""Layouts say of every listed data set what it reads, and the page of data sets says the same."""

from __future__ import annotations

import inspect
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from commands.dataset_tables import renewed
from datamodules.catalogue import DATASETS, layouts
from datamodules.published_weights import PUBLISHED_WEIGHTS, WEIGHTS
from datamodules.storage.layout import Layout, Part, SplitCounts, instructions, matches
from datamodules.storage.local_copy import LocalCopy
from tests.conftest import REAL_DATA
from tests.fakes import write_fake
from tests.tiny import ROOT

ALL = layouts() | WEIGHTS
PUBLISHED = [kind for kind in DATASETS if kind.__name__ in layouts()]
PAGE = ROOT / "docs" / "datasets.md"


def layout(*parts: Part, **facts: Any) -> Layout:
    return Layout("Tiny", "Tiny set", "https://example.org", "free", "1 B", "data/{year}", parts, **facts)


def defaults_of(kind: Any) -> dict[str, Any]:
    """The arguments of a class that have a default."""
    parameters = inspect.signature(kind.__init__).parameters.items()
    return {name: value.default for name, value in parameters if value.default is not value.empty}


def test_counts_and_folders_follow_the_options() -> None:
    tiny = layout(
        counts=(
            SplitCounts("train", 1, needed_if={"year": "2014"}),
            SplitCounts("train", 2, needed_if={"year": "2017"}),
        ),
        options={"year": "2014"},
    )
    assert [counts.records for counts in tiny.counts_for({})] == [1]
    assert [counts.records for counts in tiny.counts_for({"year": 2017})] == [2]
    assert tiny.folder({"year": 2017}) == Path("data/2017")
    assert matches({}, {})
    assert not matches({"year": "2014"}, {})


def test_a_part_may_be_replaced_by_other_files() -> None:
    tiny = layout(Part("a", "a", by_hand="ask", replaced_by=("val_file", "test_file")))
    assert tiny.parts_for({})
    assert tiny.parts_for({"val_file": None})
    assert tiny.parts_for({"test_file": "b.jsonl"}) == []


def test_how_a_set_is_obtained_follows_from_its_parts() -> None:
    free = Part("a", "a", url="https://example.org/a")
    requested = Part("b", "b", by_hand="ask")
    optional = Part("c", "c", by_hand="ask", optional=True)
    assert layout(free, optional).obtained == "by --download"
    assert layout(free, requested).obtained == "partly by --download"
    assert layout(requested).obtained == "by hand"
    assert instructions([free, requested, optional]) == "b, c: ask"


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_a_layout_agrees_with_its_class(kind: Any) -> None:
    facts = layouts()[kind.__name__]
    defaults = defaults_of(kind)
    assert facts.name == kind.__name__
    if defaults["root"] is not None:
        assert facts.folder({}) == defaults["root"]
    for option, value in facts.options.items():
        assert str(defaults[option]) == value
    for part in facts.parts:
        assert set(part.needed_if) <= set(facts.options)
        assert set(part.replaced_by) <= set(defaults)
        assert part.folder_option is None or part.folder_option[0] in defaults


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_every_part_is_where_the_reader_finds_it(kind: Any, tmp_path: Path) -> None:
    arguments = write_fake(kind, tmp_path).arguments
    options = defaults_of(kind) | arguments
    copy = LocalCopy(layouts()[kind.__name__], Path(arguments.get("root", tmp_path)), options)
    states = copy.check()
    missing = [state.part.path for state in states if state.state == "missing"]
    assert set(missing) <= {"val.txt"}  # the fake of spans has no val
    for state in states:  # and without the file the state says so
        if state.part.count == 1 and state.files == 1 and not state.part.optional:
            path = next(tmp_path.rglob(Path(state.part.path).name))
            path.rename(path.with_name("elsewhere"))
            assert copy.check_part(state.part).files == 0
            path.with_name("elsewhere").rename(path)


@pytest.mark.parametrize("name", ALL)
def test_layouts_are_well_formed(name: str) -> None:
    facts = ALL[name]
    assert facts.parts
    assert re.fullmatch(r"https?://\S+[^,\s]", facts.page)
    for text in (facts.title, facts.licence, facts.size):
        assert text.strip()
    assert (name in WEIGHTS) == (not facts.trains_on and not facts.judged_on)
    for part in facts.parts:
        assert part.count is None or part.count > 0
        assert re.fullmatch(r"|sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", part.checksum)
        assert not part.path.startswith(("/", "."))
        assert bool(part.url) != bool(part.by_hand), part.path
        if part.url:
            assert urllib.parse.urlsplit(part.url).scheme in {"http", "https"}
            is_archive = part.url.endswith((".zip", ".tar", ".gz"))
            assert (part.unpack is not None) == is_archive or part.path.endswith(".gz")
            assert part.unpack is not None or "*" not in part.path
        else:
            assert not part.checksum
    checksums = {part.url: part.checksum for part in facts.parts if part.url}
    assert all(part.checksum == checksums[part.url] for part in facts.parts if part.url)


def test_names_are_given_once() -> None:
    assert len(WEIGHTS) == len(PUBLISHED_WEIGHTS)
    assert not set(WEIGHTS) & set(layouts())


def test_the_page_of_data_sets_says_the_same() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page), (
        "the tables of docs/datasets.md are not those of the classes; "
        "`python cli.py prepare --markdown docs/datasets.md` renews them"
    )
    assert [name for name in ALL if f"`{name}`" not in page] == []


@pytest.mark.real_data
def test_real_files() -> None:
    flickr = LocalCopy(layouts()["Flickr30kEntities"], REAL_DATA / "flickr30k_entities_mini")
    files = {state.part.path: state.files for state in flickr.check()}
    assert files["Annotations/*.xml"] == files["flickr30k_images/*.jpg"] == 765
    mnist = LocalCopy(layouts()["MultiMNIST"], REAL_DATA / "mnist")
    assert all(state.state == "complete" for state in mnist.check())
    assert LocalCopy(WEIGHTS["bert-vocabulary"], REAL_DATA).check()[0].state == "complete"
