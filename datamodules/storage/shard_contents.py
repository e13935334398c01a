"""What a tar shard of image-text pairs holds: ``<key>.jpg``, ``<key>.txt`` and ``<key>.json`` side by side,
as img2dataset and webdataset write them.

Nothing is unpacked and no member is executed: only images, text and json are read; pickles, links, and names
with ``..`` are left out and counted.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from datamodules.errors import DataError
from datamodules.storage.text_files import is_unicode, json_object

# Folder and key, then suffix: a key ends at the first dot of the file's name, as in webdataset.
MEMBER_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
TEXT_SUFFIXES = ("txt", "json")
MAX_TEXT_BYTES = 1 << 20  # of a txt or json member
MAX_PADDING_BYTES = 1 << 20  # zeros after the last member
SCHEMA = pa.schema(
    [("key", pa.string()), ("caption", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)
# First words of those lines of an index that are about a whole shard.
IGNORED = "ignored"
CUT = "cut"


class Member(NamedTuple):
    """Where a file lies in a shard, in bytes."""

    offset: int
    size: int


class ShardContents(NamedTuple):
    """What a shard holds.

    Args:
        records: members by key, and by ``image``, ``txt`` or ``json``.
        repeated: keys that have several members of one kind.
        ignored: how many members were left out, by kind.
        cut: why the shard cannot be read to its end; None if it can.
    """

    records: dict[str, dict[str, Member]]
    repeated: set[str]
    ignored: Counter[str]
    cut: str | None


def shard_contents(file: BinaryIO) -> ShardContents:
    """Lists the members of a tar file as far as it can be read, without reading their content.

    Args:
        file: the open tar file.

    Returns:
        The members; ``cut`` says whether, and why, there may be more.
    """
    contents = ShardContents({}, set(), Counter(), None)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # which would otherwise keep all of them
                sticks_out = member.isreg() and member.offset_data + member.size > size
                if member.size < 0 or tar.offset <= end or sticks_out:
                    return contents._replace(cut=f"{member.name!r} has no end")
                end = tar.offset
                _add_member(contents, member)
            end = tar.offset
    except Exception as error:  # a damaged header makes tarfile raise nearly anything
        return contents._replace(cut=f"{type(error).__name__}: {error}".removesuffix(": "))
    # tarfile takes a damaged header, and the end of the file, for the end of the archive.
    file.seek(end)
    padding = file.read(MAX_PADDING_BYTES)
    if not padding or padding.strip(b"\0") or size - end > MAX_PADDING_BYTES:
        return contents._replace(cut=f"no member can be read after byte {end:,} of {size:,}")
    return contents


def _add_member(contents: ShardContents, member: tarfile.TarInfo) -> None:
    """Adds a member to the records, or counts it as ignored."""
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        contents.ignored["links and devices"] += 1
        return
    match = MEMBER_NAME.fullmatch(member.name)
    if match is None or not _is_safe_name(member.name):
        contents.ignored["odd names"] += 1
        return
    key = match[1]
    suffix = match[2].lower()
    if suffix not in IMAGE_SUFFIXES + TEXT_SUFFIXES:
        contents.ignored[f".{suffix}"] += 1
        return
    members = contents.records.setdefault(key, {})
    kind = "image" if suffix in IMAGE_SUFFIXES else suffix
    if kind in members:
        contents.repeated.add(key)
    members[kind] = Member(member.offset_data, member.size)


def _is_safe_name(name: str) -> bool:
    """Whether a name is printable and stays below its folder."""
    leads_out = ".." in name.split("/") or name.startswith("/")
    return not leads_out and is_unicode(name) and name.isprintable()


def shard_rows(shard: Path) -> Iterator[pa.RecordBatch | str]:
    """The index of a shard: one batch of its sound records, and a line for each record that is left out, for
    each kind of members that were ignored, and for a cut.

    Args:
        shard: path of the tar file.

    Raises:
        DataError: the file cannot be opened.
    """
    columns: dict[str, list] = {name: [] for name in SCHEMA.names}
    try:
        with shard.open("rb") as file:
            contents = shard_contents(file)
            for key, members in contents.records.items():
                try:
                    if key in contents.repeated:
                        raise DataError("several members of one kind")
                    if "image" not in members:
                        raise DataError("no image")
                    caption = _read_caption(file, members)
                except DataError as error:
                    yield f"{shard.name}/{key}\t{_one_line(error)}"
                    continue
                row = (key, caption, *members["image"])
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
    except OSError as error:
        raise DataError(f"{shard}: not readable ({error}).") from error
    yield pa.RecordBatch.from_pydict(columns, schema=SCHEMA)
    for kind, count in contents.ignored.items():
        yield f"{IGNORED}\t{count}\t{kind}"
    if contents.cut:
        yield f"{CUT}\t{_one_line(contents.cut)}"


def _one_line(reason: object) -> str:
    """A reason without what a line of ``broken`` cannot hold, for an archive may say anything."""
    return " ".join(str(reason).encode("utf-8", "replace").decode().split())


def _read_caption(file: BinaryIO, members: Mapping[str, Member]) -> str:
    """The caption of a record: its txt member, or else ``caption`` in its json.

    Raises:
        DataError: there is none, or img2dataset's ``status`` is not success.
    """
    texts = {kind: _read_text(file, member) for kind, member in members.items() if kind in TEXT_SUFFIXES}
    metadata = json_object(texts.get("json", b"{}"))
    if metadata.get("status", "success") != "success":
        raise DataError(f"img2dataset says {metadata['status']}: {metadata.get('error_message')}")
    try:
        caption = metadata.get("caption")
        if "txt" in texts:
            caption = texts["txt"].decode()
    except UnicodeDecodeError:
        raise DataError("the caption is not UTF-8") from None
    if not isinstance(caption, str) or not caption.strip():
        raise DataError("no caption")
    if not is_unicode(caption):
        raise DataError("the caption is not UTF-8")
    return " ".join(caption.split())


def _read_text(file: BinaryIO, member: Member) -> bytes:
    if member.size > MAX_TEXT_BYTES:
        raise DataError(f"a text of {member.size:,} bytes")
    file.seek(member.offset)
    return file.read(member.size)
