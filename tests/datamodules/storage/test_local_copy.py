"""Of a folder that should hold a data set: how much is there, and what to do about what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import DatasetNotFoundError
from datamodules.storage.layout import Layout, Part
from datamodules.storage.local_copy import LocalCopy

URL = "https://example.org/a.zip"


def layout(*parts: Part, **facts: Any) -> Layout:
    return Layout("Tiny", "Tiny set", "https://example.org", "free", "1 B", "data/tiny", parts, **facts)


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
        (Part("a/*.jpg", "", 3, links_expire=True), (2, "partial")),
        (Part("a/*.jpg", ""), (2, "present")),
        (Part("a/*.png", "", 3), (0, "missing")),
        (Part("a/*.png", "", 3, optional=True), (0, "absent")),
        (Part("b/*/*.png", "", 1), (1, "complete")),
        (Part("list.txt", "", 1), (1, "complete")),
        (Part("a", "", 1), (1, "complete")),
        (Part("empty.txt", "", 1), (0, "missing")),
        (Part("d.json", "", 1, alternatives=("new/d.json", "old/d.json")), (1, "complete")),
        (Part("../" + tmp_path.name + "/a/*.jpg", "", 2), (2, "complete")),
        (Part("nowhere/*.jpg", "", 5, folder_option=("images", "*.jpg")), (0, "missing")),
    ]
    states = LocalCopy(layout(*(part for part, _ in expected)), tmp_path).check()
    assert [(state.files, state.state) for state in states] == [state for _, state in expected]
    lacking = [state in {"incomplete", "missing"} for _, (_, state) in expected]
    assert [state.lacking for state in states] == lacking


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    states = LocalCopy(layout(Part("*", ""), Part("x", "")), tmp_path / "gone").check()
    assert [state.state for state in states] == ["missing", "missing"]


def test_a_set_beside_its_root_is_found_though_the_root_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "coco/val/1.jpg")
    copy = LocalCopy(layout(Part("../coco/val/*.jpg", "", 1)), tmp_path / "foil")
    assert copy.check()[0].state == "complete"


def test_options_say_where_and_what(tmp_path: Path) -> None:
    touch(tmp_path, "else/1.jpg", "b.json")
    tiny = layout(
        Part("photos/*.jpg", "photographs", 1, folder_option=("images", "*.jpg")),
        Part("a.json", "a", 1, needed_if={"split": "a"}),
        Part("b.json", "b", 1, needed_if={"split": "b|c"}),
        options={"split": "a"},
    )

    def states(**options: object) -> list[tuple[str, str]]:
        copy = LocalCopy(tiny, tmp_path, options)
        return [(state.part.content, state.state) for state in copy.check()]

    assert states() == [("photographs", "missing"), ("a", "missing")]
    assert states(images=tmp_path / "else", split="c") == [("photographs", "complete"), ("b", "complete")]
    assert states(images=None, split=None) == states()


def test_the_command_has_what_differs_from_the_defaults() -> None:
    tiny = layout(Part("a", "a", folder_option=("images", "*")), options={"year": "2014"})
    root = Path("data/tiny")
    assert LocalCopy(tiny, root).command() == "python cli.py prepare Tiny"
    assert LocalCopy(tiny, root, {"year": 2014, "batch_size": 3}).command() == "python cli.py prepare Tiny"
    copy = LocalCopy(tiny, Path("other"), {"year": 2017, "images": Path("photos")})
    command = "python cli.py prepare Tiny year=2017 images=photos --root other --download"
    assert copy.command(download=True) == command


def test_what_is_required_is_named_with_its_remedy(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    tiny = layout(
        Part("a/*.jpg", "photographs", 1, url=URL, unpack="."),
        Part("b.json", "boxes", 1, by_hand="ask https://example.org"),
        Part("c.json", "sizes", 1, optional=True),
    )
    copy = LocalCopy(tiny, tmp_path)
    copy.require(tmp_path / "a")
    with pytest.raises(DatasetNotFoundError) as raised:
        copy.require(tmp_path / "a", tmp_path / "b.json")
    assert str(raised.value) == (
        f"Tiny set: {tmp_path / 'b.json'} not found; {tmp_path} must hold a/*.jpg, b.json. "
        f"`python cli.py prepare Tiny --root {tmp_path}` says what is needed. "
        "By hand: b.json: ask https://example.org. If it is in another folder, set --data.root."
    )
    gone = LocalCopy(tiny, tmp_path / "gone")
    with pytest.raises(DatasetNotFoundError, match=r"gone not found; it must hold .* what is free\. By hand"):
        gone.first_existing(tmp_path / "gone" / "x", tmp_path / "gone" / "y")


def test_the_first_that_is_there_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "b", "c")
    copy = LocalCopy(layout(Part("a", "a", url=URL)), tmp_path)
    assert copy.first_existing(tmp_path / "a", tmp_path / "b", tmp_path / "c") == tmp_path / "b"
    with pytest.raises(DatasetNotFoundError, match="x not found"):
        copy.first_existing(tmp_path / "x", tmp_path / "y")
