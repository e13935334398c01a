"""Layouts say of every listed data set what it reads, and of a folder how much of that is there."""

from __future__ import annotations

import inspect
import re
import urllib.parse
from pathlib import Path

import pytest

from datamodules.catalogue import DATASETS
from datamodules.sets.layouts import LAYOUTS
from datamodules.sets.layouts_weights import CHECKPOINTS
from datamodules.storage.layout import Layout, Part, Total, check, fits
from tests.fakes import write_fake

WITHOUT_FILES = {"CrossDataset", "ImageCaptionFolder", "Scenes"}  # of members, of the user's, of nothing
ALL = LAYOUTS | CHECKPOINTS
LISTED = [kind for kind in DATASETS if kind.__name__ not in WITHOUT_FILES]


def layout(*parts: Part, **fields: object) -> Layout:
    return Layout("set", "https://example.org", "free", "1 B", "Nothing.", parts, "data/set", **fields)  # type: ignore[arg-type]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def test_states(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/c/1.png", "list.txt", "old/d.json")
    (tmp_path / "empty.txt").touch()
    expected = [
        (Part("a/*.jpg", "", 2), (2, "complete")),
        (Part("a/*.jpg", "", 1), (2, "complete")),
        (Part("a/*.jpg", "", 3), (2, "incomplete")),
        (Part("a/*.jpg", "", 3, decays=True), (2, "partial")),
        (Part("a/*.jpg", ""), (2, "present")),
        (Part("a/*.png", "", 3), (0, "missing")),
        (Part("a/*.png", "", 3, optional=True), (0, "not there")),
        (Part("b/*/*.png", "", 1), (1, "complete")),
        (Part("list.txt", "", 1), (1, "complete")),
        (Part("a", "", 1), (1, "complete")),
        (Part("empty.txt", "", 1), (0, "missing")),
        (Part("d.json", "", 1, elsewhere=("new/d.json", "old/d.json")), (1, "complete")),
        (Part("../" + tmp_path.name + "/a/*.jpg", "", 2), (2, "complete")),
        (Part("nowhere/*.jpg", "", 5, given=("images", "*.jpg")), (0, "missing")),
    ]
    found = check(layout(*(part for part, _ in expected)), tmp_path)
    assert [(part.found, part.state) for part in found] == [state for _, state in expected]
    assert [part.lacking for part in found] == [
        state in {"incomplete", "missing"} for _, (_, state) in expected
    ]


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert [part.state for part in check(layout(Part("*", ""), Part("x", "")), tmp_path / "gone")] == [
        "missing",
        "missing",
    ]


def test_a_set_beside_its_root_is_found_though_the_root_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "coco/val/1.jpg")
    assert check(layout(Part("../coco/val/*.jpg", "", 1)), tmp_path / "foil")[0].state == "complete"


def test_options_say_where_and_what(tmp_path: Path) -> None:
    touch(tmp_path, "else/1.jpg", "b.json")
    parts = (
        Part("photos/*.jpg", "photographs", 1, given=("images", "*.jpg")),
        Part("a.json", "a", 1, where={"split": "a"}),
        Part("b.json", "b", 1, where={"split": "b|c"}),
    )
    made = layout(*parts, options={"split": "a"})
    states = lambda options: [(part.part.what, part.state) for part in check(made, tmp_path, options)]  # noqa: E731
    assert states(None) == [("photographs", "missing"), ("a", "missing")]
    assert states({"images": tmp_path / "else", "split": "c"}) == [
        ("photographs", "complete"),
        ("b", "complete"),
    ]
    assert states({"images": None, "split": None}) == states(None)


def test_totals_and_folders_follow_the_options() -> None:
    made = Layout(
        "s",
        "",
        "",
        "",
        "",
        (),
        "data/{year}",
        (Total("train", 1, where={"year": "2014"}), Total("train", 2, where={"year": "2017"})),
        options={"year": "2014"},
    )
    assert [total.images for total in made.totals_of({})] == [1]
    assert [total.images for total in made.totals_of({"year": 2017})] == [2]
    assert made.folder({"year": 2017}) == Path("data/2017")
    assert fits({}, {})
    assert not fits({"year": "2014"}, {})


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: kind.__name__)
def test_every_listed_data_set_has_a_layout_that_agrees_with_its_class(kind: type) -> None:
    found = LAYOUTS[kind.__name__]
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    if parameters["root"].default is not None:
        assert found.folder({}) == parameters["root"].default
    for option, value in found.options.items():
        assert str(parameters[option].default) == value
    for part in found.parts:
        assert set(part.where) <= set(found.options)
        assert part.given is None or part.given[0] not in found.options or part.given[0] in parameters


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: kind.__name__)
def test_every_part_is_where_the_reader_finds_it(kind: type, tmp_path: Path) -> None:
    arguments = write_fake(kind, tmp_path).arguments
    signature = {
        name: parameter.default for name, parameter in inspect.signature(kind.__init__).parameters.items()
    }  # type: ignore[misc]
    options = {
        name: value for name, value in signature.items() if value is not inspect.Parameter.empty
    } | arguments
    found = check(LAYOUTS[kind.__name__], Path(arguments.get("root", tmp_path)), options)
    assert [
        part.part.path for part in found if part.state == "missing" and part.part.path != "val.txt"
    ] == []  # that of spans has no val
    for part in found:  # and without the file the state says so
        if part.expected == 1 and part.found == 1 and not part.part.optional:
            path = next(
                path for path in tmp_path.rglob(Path(part.part.path).name) if path.is_file() or path.is_dir()
            )
            path.rename(path.with_name("elsewhere"))
            assert (
                check(LAYOUTS[kind.__name__], Path(arguments.get("root", tmp_path)), options)[
                    found.index(part)
                ].found
                == 0
            )
            path.with_name("elsewhere").rename(path)


@pytest.mark.parametrize("name", ALL)
def test_layouts_are_well_formed(name: str) -> None:
    found = ALL[name]
    assert found.parts
    assert found.page.startswith("http")
    for text in (found.title, found.licence, found.size, found.requires):
        assert text.strip()
    for part in found.parts:
        assert part.count is None or part.count > 0
        assert re.fullmatch(r"|sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", part.checksum)
        assert not part.path.startswith(("/", "."))
        if part.url:
            assert urllib.parse.urlsplit(part.url).scheme in {"http", "https"}
            assert (part.unpack is not None) == part.url.endswith(
                (".zip", ".tar", ".gz")
            ) or part.path.endswith(".gz")
            assert part.unpack is not None or "*" not in part.path
        else:
            assert not part.checksum
    by_url = {part.url: part.checksum for part in found.parts if part.url}
    assert all(part.checksum == by_url[part.url] for part in found.parts if part.url)


def test_only_what_is_fetched_whole_says_that_nothing_is_required() -> None:
    for name, found in ALL.items():
        if found.requires.startswith("Nothing"):
            assert found.had == "by --download", name
        elif found.had == "by --download":
            assert "by hand" not in found.requires, name


@pytest.mark.real_data
def test_real_files() -> None:
    data = Path(__file__).parents[3] / "shared" / "data"
    spans = {
        part.part.path: part.found
        for part in check(LAYOUTS["Flickr30kEntities"], data / "flickr30k_entities_mini")
    }
    assert spans["Annotations/*.xml"] == spans["flickr30k_images/*.jpg"] == 765
    assert all(part.state == "complete" for part in check(LAYOUTS["MultiMNIST"], data / "mnist"))
    assert check(CHECKPOINTS["bert-vocabulary"], data)[0].state == "complete"


def test_the_page_of_data_sets_names_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert [name for name in ALL if f"`{name}`" not in page] == []
