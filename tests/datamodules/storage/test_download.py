"""What is fetched goes on where it broke off, and nothing is put in place that was not checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamodules.storage.download import DownloadError, download
from tests.fakes.file_server import CHECKSUM, CONTENT, Server, files_below, running_server


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


def test_a_file_is_fetched_checked_and_then_left_alone(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.bin"
    progress: list[tuple[int, int]] = []
    how = download(server.url(), path, CHECKSUM, len(CONTENT), lambda *sizes: progress.append(sizes))
    assert how == "sha256 is right"
    assert path.read_bytes() == CONTENT
    assert files_below(tmp_path) == ["new/x.bin"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    download(server.url(), path, CHECKSUM)
    assert len(server.ranges_asked) == 1


def test_a_damaged_file_in_place_is_not_trusted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"?" * len(CONTENT))
    download(server.url(), tmp_path / "x", CHECKSUM)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_what_broke_off_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    for done in (300_000, 600_000):
        with pytest.raises(DownloadError, match="goes on where it stopped"):
            download(server.url(), tmp_path / "x", CHECKSUM)
        assert (tmp_path / "x.part").stat().st_size == done
        assert not (tmp_path / "x").exists()
    server.cut = None
    download(server.url(), tmp_path / "x", CHECKSUM)
    assert server.ranges_asked == ["", "bytes=300000-", "bytes=600000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert files_below(tmp_path) == ["x"]


def test_a_whole_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT)
    (tmp_path / "x.part.tag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    download(server.url(), tmp_path / "x", CHECKSUM)
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["content", "ranges", "tagged"])
def test_a_start_that_cannot_be_gone_on_with_is_thrown_away(
    change: str, server: Server, tmp_path: Path
) -> None:
    """The file changed meanwhile, the server gives no parts, or it does not name its versions."""
    server.cut = 1000
    server.tagged = change != "tagged"
    with pytest.raises(DownloadError):
        download(server.url(), tmp_path / "x")
    server.cut = None
    server.ranges = change != "ranges"
    server.files["/file"] = CONTENT[::-1] if change == "content" else CONTENT
    download(server.url(), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == server.files["/file"]


def test_another_file_than_the_known_one_is_deleted(server: Server, tmp_path: Path) -> None:
    for facts in ({"checksum": "sha256:" + "0" * 64}, {"checksum": "md5:" + "0" * 32}, {"size": 17}):
        with pytest.raises(DownloadError, match="came whole, but it") as raised:
            download(server.url(), tmp_path / "x", **facts)  # type: ignore[arg-type]
        assert "instead of" in str(raised.value)
        assert files_below(tmp_path) == []


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
