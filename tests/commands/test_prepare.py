"""`prepare` says what is needed, fetches only when asked, and compares what it opens with what is known."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from commands import prepare as command
from commands.data_classes import class_named, construct
from commands.dataset_tables import renewed
from datamodules.catalogue import layouts
from datamodules.errors import DataError
from datamodules.published_weights import WEIGHTS
from datamodules.sets.coco_captions import COCOCaptions
from datamodules.storage.layout import Layout, Part, SplitCounts
from tests.fakes import coco_captions
from tests.fakes.file_server import Server, files_below, running_server
from tests.tiny import ROOT


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def layout(server: Server, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Like weights: an archive of three photographs, a list, and a file that the publisher keeps."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in "abc":
            opened.writestr(f"photos/{name}.jpg", name)
    server.files |= {"/photos.zip": archive.getvalue(), "/list.txt": b"a b c"}
    checksum = f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}"
    photographs = server.url("/photos.zip")
    layout = Layout(
        "Tiny",
        "Tiny set",
        "https://example.org",
        "free",
        "3 bytes",
        "data/tiny",
        parts=(
            Part("photos/*.jpg", "photographs", 3, url=photographs, checksum=checksum, unpack="."),
            Part("photos/a.jpg", "the first", 1, url=photographs, unpack="."),
            Part("lists/list.txt", "the list", 1, url=server.url("/list.txt")),
            Part("labels.json", "labels", 1, by_hand="Ask for them.", needed_if={"labels": "yes"}),
        ),
        options={"labels": "no"},
    )
    monkeypatch.setitem(WEIGHTS, "Tiny", layout)
    return layout


def test_nothing_is_fetched_unless_asked_for(
    layout: Layout, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["prepare", "tiny", "--root", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert server.ranges_asked == []
    assert files_below(tmp_path) == []
    assert "labels.json: Ask for them." in output
    assert f"next: python cli.py prepare Tiny --root {tmp_path} --download" in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coco", "there are COCOCaptions, RefCOCO, "),
        ("flickr", "there are Flickr30kEntities, "),
        ("VisualGenom", "did you mean 'VisualGenome'?"),
        ("CocoCaption5", "did you mean 'COCOCaptions'?"),
        ("zzz", "'zzz', `python cli.py prepare` lists them."),
    ],
)
def test_a_name_that_is_none(name: str, words: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", name]) == 1
    assert words in capsys.readouterr().err


def test_download_brings_what_is_free(
    layout: Layout, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["prepare", "tiny", "--root", str(tmp_path), "--download"]
    assert command.main(arguments) == 0
    assert files_below(tmp_path) == ["lists/list.txt", "photos/a.jpg", "photos/b.jpg", "photos/c.jpg"]
    assert len(server.ranges_asked) == 2  # the archive once, though two parts come from it
    output = capsys.readouterr().out
    assert "sha256 is right" in output
    assert "no checksum is published; the size, 5 bytes, is right" in output
    assert command.main(arguments) == 0
    assert len(server.ranges_asked) == 2


def test_what_is_not_free_is_named(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", "tiny", "labels=yes", "--root", str(tmp_path), "--download"]) == 1
    assert f"next: by hand, into {tmp_path}: labels.json: Ask for them." in capsys.readouterr().out
    (tmp_path / "labels.json").write_text("{}")
    assert command.main(["prepare", "tiny", "--root", str(tmp_path), "labels=yes"]) == 0


def test_archives_are_kept_if_asked(layout: Layout, tmp_path: Path) -> None:
    command.main(["prepare", "tiny", "--root", str(tmp_path), "--download", "--keep"])
    assert ".downloads/photos.zip" in files_below(tmp_path)


def test_a_hostile_archive_is_one_line(
    layout: Layout,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../evil", "x")
    server.files["/photos.zip"] = archive.getvalue()
    unchecked = replace(layout.parts[0], checksum="")
    monkeypatch.setitem(WEIGHTS, "Tiny", replace(layout, parts=(unchecked,)))
    assert command.main(["prepare", "tiny", "--root", str(tmp_path / "set"), "--download"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "leads out of the folder" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "evil").exists()


def test_photographs_go_to_the_folder_that_an_option_names(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = replace(layout.parts[0], folder_option=("images", "*.jpg"))
    monkeypatch.setitem(WEIGHTS, "Tiny", replace(layout, parts=(part,)))
    root = str(tmp_path / "set")
    images = f"images={tmp_path}/else/photos"
    assert command.main(["prepare", "tiny", images, "--root", root, "--download"]) == 0
    assert files_below(tmp_path / "else") == ["photos/a.jpg", "photos/b.jpg", "photos/c.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["COCOCaption"], "did you mean"),
        (["nothing at all"], "no data set or published weights"),
        (["coco_captions", "year"], "no OPTION=VALUE"),
        (["--markdown", "gone.md"], "gone.md: not readable"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", *arguments]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_the_overview_names_all(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in (*layouts(), *WEIGHTS))


def test_the_tables_of_a_page_are_renewed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    stale = tmp_path / "page.md"
    stale.write_text(page.replace("| `MultiMNIST` |", "| `Digits` |"), encoding="utf-8")
    assert stale.read_text(encoding="utf-8") != page
    assert command.main(["prepare", "--markdown", str(stale)]) == 0
    assert stale.read_text(encoding="utf-8") == page
    with pytest.raises(DataError, match="the page has places for the tables none; it must have one for each"):
        renewed("no table")


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """COCO on a small scale, whose layout knows how much of it there is."""
    coco_captions.write(tmp_path)
    photographs = len(list((tmp_path / "train2014").glob("*.jpg")))
    parts = (
        Part("train2014/*.jpg", "photographs", photographs, by_hand="ask"),
        Part("annotations/captions_train2014.json", "captions", 1, by_hand="ask"),
    )
    counts = (SplitCounts("train", 5, note="of the fake"),)
    monkeypatch.setattr(COCOCaptions, "layout", replace(COCOCaptions.layout, parts=parts, counts=counts))
    return tmp_path


def prepare_coco(root: Path) -> int:
    return command.main(["prepare", "coco_captions", f"cache_dir={root / 'cache'}", "--root", str(root)])


def test_the_index_is_built_and_its_counts_compared(coco: Path, capsys: pytest.CaptureFixture) -> None:
    assert prepare_coco(coco) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("train ")]
    assert rows[0][:4] == ["train", "of", "the", "fake"]
    assert "(5)" in rows[0]


def test_an_incomplete_set_is_opened_but_not_approved(
    coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    photographs, captions = COCOCaptions.layout.parts
    parts = (replace(photographs, count=1000), captions)
    monkeypatch.setattr(COCOCaptions, "layout", replace(COCOCaptions.layout, parts=parts))
    assert prepare_coco(coco) == 1
    output = capsys.readouterr().out
    assert "incomplete" in output
    assert "opened" in output


@pytest.mark.parametrize(
    ("options", "words"),
    [({"year": "2015"}, "one of 2014, 2017"), ({"yeer": "2014"}, "did you mean 'year'")],
)
def test_options_that_a_class_does_not_take(options: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        construct(class_named("COCOCaptions"), tmp_path, options)


def test_options_are_read_as_the_class_takes_them(tmp_path: Path) -> None:
    data = construct(class_named("COCOCaptions"), tmp_path, {"year": "2017", "batch_size": "3"})
    assert data.batch_size == 3
    with pytest.raises(DataError, match="catalogue"):
        class_named("COCOCaption")


def test_broken_annotations_are_one_line(coco: Path, capsys: pytest.CaptureFixture) -> None:
    (coco / "annotations" / "captions_train2014.json").write_text(json.dumps([]))
    assert prepare_coco(coco) == 1
    assert capsys.readouterr().err.startswith("error: ")
