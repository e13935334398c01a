"""A server of files on loopback, which may break off, refuse parts, or not name its versions."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONTENT = bytes(range(256)) * 5000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Files at addresses, on loopback.

    Attributes:
        files: content by path.
        ranges_asked: the ``Range`` header of each request, in order.
        cut: bytes after which the next answers break off.
        ranges: whether parts are given.
        tagged: whether versions are named.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file": CONTENT}
        self.ranges_asked: list[str] = []
        self.cut: int | None = None
        self.ranges = True
        self.tagged = True

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers.get("Range", "")
        self.server.ranges_asked.append(requested)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        begin = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        partial = bool(requested) and self.server.ranges and self.headers.get("If-Range") == tag
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


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that runs in a thread of its own."""
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def files_below(folder: Path) -> list[str]:
    """The paths of all files below a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
