"""`prepare` says what is needed, fetches only when asked, goes on where it broke off, and puts nothing in
place that was not checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from datamodules.sets.layouts import LAYOUTS

from commands import prepare as command
from datamodules.errors import DataError
from datamodules.storage.download import DownloadError, download
from datamodules.storage.layout import Layout, Part, Total
from tests.fakes import coco_captions

CONTENT = bytes(range(256)) * 5000
SUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Files at addresses, on loopback.

    Attributes:
        files: content by path.
        asked: the ``Range`` header of each request, in order.
        cut: bytes after which the next answers break off.
        ranges: whether parts are given.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.asked: list[str] = []
        self.cut: int | None = None
        self.ranges = self.tagged = True

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        partial = bool(wanted) and self.server.ranges and self.headers.get("If-Range") == tag
        if partial and begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        body = content[begin:] if partial else content
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.server.tagged:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body if self.server.cut is None else body[: self.server.cut])

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# Fetching.


def test_a_file_is_fetched_checked_and_then_left_alone(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.bin"
    told: list[tuple[int, int]] = []
    assert (
        download(server.url(), path, SUM, len(CONTENT), lambda *sizes: told.append(sizes))
        == "sha256 is right"
    )
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == ["new/x.bin"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    download(server.url(), path, SUM)
    assert len(server.asked) == 1


def test_a_damaged_file_in_place_is_not_trusted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"?" * len(CONTENT))
    download(server.url(), tmp_path / "x", SUM)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_what_broke_off_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    for done in (300_000, 600_000):
        with pytest.raises(DownloadError, match="goes on where it stopped"):
            download(server.url(), tmp_path / "x", SUM)
        assert (tmp_path / "x.part").stat().st_size == done
        assert not (tmp_path / "x").exists()
    server.cut = None
    download(server.url(), tmp_path / "x", SUM)
    assert server.asked == ["", "bytes=300000-", "bytes=600000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert files(tmp_path) == ["x"]


def test_a_whole_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT)
    (tmp_path / "x.part.tag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    download(server.url(), tmp_path / "x", SUM)
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["content", "ranges", "tagged"])
def test_a_start_that_cannot_be_gone_on_with_is_thrown_away(
    change: str, server: Server, tmp_path: Path
) -> None:
    """The file changed meanwhile, the server gives no parts, or it does not name its versions."""
    server.cut, server.tagged = 1000, change != "tagged"
    with pytest.raises(DownloadError):
        download(server.url(), tmp_path / "x")
    server.cut, server.ranges = None, change != "ranges"
    server.files["/file"] = CONTENT[::-1] if change == "content" else CONTENT
    download(server.url(), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == server.files["/file"]


def test_another_file_than_the_known_one_is_deleted(server: Server, tmp_path: Path) -> None:
    for known in ({"checksum": "sha256:" + "0" * 64}, {"checksum": "md5:" + "0" * 32}, {"size": 17}):
        with pytest.raises(DownloadError, match="came whole, but it") as raised:
            download(server.url(), tmp_path / "x", **known)  # type: ignore[arg-type]
        assert "instead of" in str(raised.value)
        assert files(tmp_path) == []


def test_what_nobody_states_is_said(server: Server, tmp_path: Path) -> None:
    assert "no checksum is published" in download(server.url(), tmp_path / "x")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "x.zip"])
def test_other_kinds_of_addresses(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only http"):
        download(url, tmp_path / "x")


def test_servers_that_refuse_or_are_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        download(server.url("/gone"), tmp_path / "x")
    server.server_close()
    with pytest.raises(DownloadError, match="goes on where it stopped"):
        download("http://127.0.0.1:9/x", tmp_path / "x")


# The command.


@pytest.fixture
def layout(server: Server, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkpoint-like set: an archive of three photographs, a list, and a file that the publisher keeps."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in "abc":
            opened.writestr(f"photos/{name}.jpg", name)
    server.files |= {"/photos.zip": archive.getvalue(), "/list.txt": b"a b c"}
    layout = Layout(
        "Tiny set",
        "https://example.org",
        "free",
        "3 bytes",
        "Ask for the labels.",
        (
            Part(
                "photos/*.jpg",
                "photographs",
                3,
                server.url("/photos.zip"),
                f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}",
                unpack=".",
            ),
            Part("photos/a.jpg", "the first", 1, server.url("/photos.zip"), unpack="."),
            Part("lists/list.txt", "the list", 1, server.url("/list.txt")),
            Part("labels.json", "labels", 1, where={"labels": "yes"}),
        ),
        "data/tiny",
        options={"labels": "no"},
    )
    monkeypatch.setitem(command.CHECKPOINTS, "Tiny", layout)
    return layout


def test_nothing_is_fetched_unless_asked_for(
    layout: Layout, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["prepare", "tiny", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert server.asked == []
    assert files(tmp_path) == []
    assert "Ask for the labels." in said
    assert f"next: python cli.py prepare Tiny --root {tmp_path} --download" in said


def test_download_brings_what_is_free(
    layout: Layout, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["prepare", "tiny", "--root", str(tmp_path), "--download"]) == 0
    assert files(tmp_path) == ["lists/list.txt", "photos/a.jpg", "photos/b.jpg", "photos/c.jpg"]
    assert len(server.asked) == 2  # the archive once, though two parts come from it
    said = capsys.readouterr().out
    assert "sha256 is right" in said
    assert "no checksum is published; the size, 5 bytes, is right" in said
    assert command.main(["prepare", "tiny", "--root", str(tmp_path), "--download"]) == 0
    assert len(server.asked) == 2


def test_what_is_not_free_is_named(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", "tiny", "labels=yes", "--root", str(tmp_path), "--download"]) == 1
    assert f"next: by hand: {tmp_path / 'labels.json'}. Ask for the labels." in capsys.readouterr().out
    (tmp_path / "labels.json").write_text("{}")
    assert command.main(["prepare", "tiny", "--root", str(tmp_path), "labels=yes"]) == 0


def test_archives_are_kept_if_asked(layout: Layout, tmp_path: Path) -> None:
    command.main(["prepare", "tiny", "--root", str(tmp_path), "--download", "--keep"])
    assert ".downloads/photos.zip" in files(tmp_path)


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
    monkeypatch.setitem(
        command.CHECKPOINTS, "Tiny", replace(layout, parts=(replace(layout.parts[0], checksum=""),))
    )
    assert command.main(["prepare", "tiny", "--root", str(tmp_path / "set"), "--download"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "leads out of the folder" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "evil").exists()


def test_photographs_go_to_the_folder_that_an_option_names(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = replace(layout.parts[0], given=("images", "*.jpg"))
    monkeypatch.setitem(command.CHECKPOINTS, "Tiny", replace(layout, parts=(part,)))
    arguments = [
        "prepare",
        "tiny",
        f"images={tmp_path}/else/photos",
        "--root",
        str(tmp_path / "set"),
        "--download",
    ]
    assert command.main(arguments) == 0
    assert files(tmp_path / "else") == ["photos/a.jpg", "photos/b.jpg", "photos/c.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["COCOCaption"], "did you mean"),
        (["nothing at all"], "no data set or checkpoint"),
        (["coco_captions", "year"], "no OPTION=VALUE"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_the_overview_names_all(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in LAYOUTS)


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """COCO on a small scale, whose layout knows how much of it there is."""
    coco_captions.write(tmp_path)
    photographs = len(list((tmp_path / "train2014").glob("*.jpg")))
    parts = (
        Part("train2014/*.jpg", "photographs", photographs),
        Part("annotations/captions_train2014.json", "captions", 1),
    )
    monkeypatch.setitem(
        LAYOUTS,
        "COCOCaptions",
        replace(LAYOUTS["COCOCaptions"], parts=parts, totals=(Total("train", 5, note="of the fake"),)),
    )
    return tmp_path


def test_the_index_is_built_and_its_counts_compared(coco: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["prepare", "coco_captions", f"cache_dir={coco / 'cache'}", "--root", str(coco)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("train ")]
    assert rows[0][:4] == ["train", "of", "the", "fake"]
    assert "(5)" in rows[0]


def test_an_incomplete_set_is_opened_but_not_approved(
    coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    parts = (replace(LAYOUTS["COCOCaptions"].parts[0], count=1000), LAYOUTS["COCOCaptions"].parts[1])
    monkeypatch.setitem(LAYOUTS, "COCOCaptions", replace(LAYOUTS["COCOCaptions"], parts=parts))
    assert command.main(["prepare", "coco_captions", f"cache_dir={coco / 'cache'}", "--root", str(coco)]) == 1
    said = capsys.readouterr().out
    assert "incomplete" in said
    assert "opened" in said


def test_options_are_checked_as_the_class_takes_them(coco: Path, capsys: pytest.CaptureFixture) -> None:
    from commands.data_classes import class_named, construct

    for options, words in (
        ({"year": "2015"}, "one of 2014, 2017"),
        ({"yeer": "2014"}, "did you mean 'year'"),
    ):
        with pytest.raises(DataError, match=words):
            construct(class_named("COCOCaptions"), coco, options)
    assert construct(class_named("COCOCaptions"), coco, {"year": "2017", "batch_size": "3"}).batch_size == 3
    with pytest.raises(DataError, match="catalogue"):
        class_named("COCOCaption")


def test_broken_annotations_are_one_line(coco: Path, capsys: pytest.CaptureFixture) -> None:
    (coco / "annotations" / "captions_train2014.json").write_text(json.dumps([]))
    assert command.main(["prepare", "coco_captions", f"cache_dir={coco / 'cache'}", "--root", str(coco)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
