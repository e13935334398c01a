"""Image-text pairs in tar shards, as img2dataset and webdataset write them: ``<key>.jpg``, ``<key>.txt`` and
``<key>.json`` side by side.

A stream is read here by position and not by passing through it: each shard is gone through once, and an Arrow
    index keeps where every image lies, and
its caption. That is simpler than a stream of tar members and exact, for what training asks of it then is what
it asks of any data set. The length of an epoch is known and the same on all ranks; the order is a pure
function of (seed, epoch), so that the batch count in Lightning's checkpoint is all the state that a resume in
mid-epoch needs; a sample belongs to one rank whatever the number of shards, so that no rank is ever without
work while others wait; and what is missing or broken is known before training. Reads stay local: shards come
in random order, and samples are shuffled within a window, as by a shuffle buffer, so that a rank reads from
few shards at a time. The price is the pass at the first start (some 15,000 pairs a second) and that shards
must lie in a file system.

Nothing is unpacked and no member is executed: only images, text and json are read; pickles, links, and names
    with ``..`` are left out and counted.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import statistics
import tarfile
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.samplers import EpochSampler
from datamodules.sets.image_caption_folder import is_unicode
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, open_index

MEMBER = re.compile(
    r"((?:.*/)?[^./][^./]*)\.([^/]+)"
)  # a key ends at the first dot of the file's name, as in webdataset
IMAGES, TEXTS = ("jpg", "jpeg", "png", "webp"), ("txt", "json")
LONGEST_TEXT = 1 << 20  # bytes of a txt or json member
LONGEST_PADDING = 1 << 20  # bytes of zeros after the last member
OPEN_SHARDS = 8
SCHEMA = pa.schema(
    [("key", pa.string()), ("caption", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)
IGNORED, CUT = "ignored", "cut"  # first words of lines about a whole shard


class Member(NamedTuple):
    """Where a file lies in a shard, in bytes."""

    offset: int
    size: int


class Contents(NamedTuple):
    """What a shard holds: members by key and suffix, what was left out by kind, and why its end cannot be
    read, if that is so.
    """

    records: dict[str, dict[str, Member]]
    repeated: set[str]
    ignored: Counter[str]
    cut: str | None


def shard_contents(file: BinaryIO) -> Contents:
    """The members of a tar file, as far as it can be read. No member's content is."""
    found = Contents({}, set(), Counter(), None)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # which would otherwise keep all of them
                if (
                    member.size < 0
                    or tar.offset <= end
                    or (member.isreg() and member.offset_data + member.size > size)
                ):
                    return found._replace(cut=f"{member.name!r} has no end")
                end = tar.offset
                _take(member, found)
            end = tar.offset
    except Exception as error:  # a damaged header makes tarfile raise nearly anything
        return found._replace(cut=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    # tarfile takes a damaged header, and the end of the file, for the end of the archive.
    file.seek(end)
    tail = file.read(LONGEST_PADDING)
    if not tail or tail.strip(b"\0") or size - end > LONGEST_PADDING:
        return found._replace(cut=f"no member can be read after byte {end:,} of {size:,}")
    return found


def _take(member: tarfile.TarInfo, found: Contents) -> None:
    parts = member.name.split("/")
    match = MEMBER.fullmatch(member.name)
    suffix = match[2].lower() if match else ""
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        found.ignored["links and devices"] += 1
    elif (
        match is None
        or ".." in parts
        or member.name.startswith("/")
        or not (is_unicode(member.name) and member.name.isprintable())
    ):
        found.ignored["odd names"] += 1
    elif suffix not in IMAGES + TEXTS:
        found.ignored[f".{suffix}"] += 1
    else:
        members = found.records.setdefault(match[1], {})
        kind = "image" if suffix in IMAGES else suffix
        if kind in members:
            found.repeated.add(match[1])
        members[kind] = Member(member.offset_data, member.size)


def shard_rows(shard: Path) -> Iterator[pa.RecordBatch | str]:
    """The index of a shard: one batch of its sound records, and a line for each record that is left out, for
    what was ignored, and for a cut.
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
                    caption = _caption(
                        {kind: _read(file, at) for kind, at in members.items() if kind in TEXTS}
                    )
                except DataError as error:
                    yield f"{shard.name}/{key}\t{_one_line(error)}"
                    continue
                for column, value in zip(columns.values(), (key, caption, *members["image"]), strict=True):
                    column.append(value)
    except OSError as error:
        raise DataError(f"{shard}: not readable ({error}).") from error
    yield pa.RecordBatch.from_pydict(columns, schema=SCHEMA)
    for kind, count in contents.ignored.items():
        yield f"{IGNORED}\t{count}\t{kind}"
    if contents.cut:
        yield f"{CUT}\t{_one_line(contents.cut)}"


def _one_line(reason: object) -> str:
    """Without what a line of ``broken`` cannot hold, for an archive may say anything."""
    return " ".join(str(reason).encode("utf-8", "replace").decode().split())


def _read(file: BinaryIO, member: Member) -> bytes:
    if member.size > LONGEST_TEXT:
        raise DataError(f"a text of {member.size:,} bytes")
    file.seek(member.offset)
    return file.read(member.size)


def _caption(texts: Mapping[str, bytes]) -> str:
    """The caption of a record: its txt member, or else ``caption`` in its json.

    Raises:
        DataError: there is none, or img2dataset's ``status`` is not success.
    """
    try:
        told = json.loads(texts["json"]) if "json" in texts else {}
    except (ValueError, RecursionError):
        told = {}
    told = told if isinstance(told, dict) else {}
    if told.get("status", "success") != "success":
        raise DataError(f"img2dataset says {told['status']}: {told.get('error_message')}")
    try:
        caption = texts["txt"].decode() if "txt" in texts else told.get("caption")
    except UnicodeDecodeError:
        raise DataError("the caption is not UTF-8") from None
    if not isinstance(caption, str) or not (caption := " ".join(caption.split())):
        raise DataError("no caption")
    if not is_unicode(caption):
        raise DataError("the caption is not UTF-8")
    return caption


def expected_records(shards: Sequence[Path]) -> dict[str, int]:
    """How many records each shard should hold, by name, where its writer says so: img2dataset in
    ``<shard>_stats.json``, the mirrors' in ``_info.json``.
    """
    expected: dict[str, int] = {}
    for folder in sorted({shard.parent for shard in shards}):
        try:
            for split in _json_object(folder / "_info.json").get("splits", {}).values():
                counted = zip(split.get("filenames", ()), split.get("shard_lengths", ()), strict=False)
                expected |= {name: count for name, count in counted if isinstance(count, int)}
        except (AttributeError, TypeError):
            continue  # of another kind
    for shard in shards:
        successes = _json_object(shard.with_name(f"{shard.stem}_stats.json")).get("successes")
        if isinstance(successes, int):
            expected[shard.name] = successes
    return expected


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def lost_records(shard: str, found: int, cut: str | None, expected: int | None, usual: int) -> list[str]:
    """A line for each record that a shard should hold and does not.

    Args:
        shard: its name.
        found: records that were found, broken ones among them.
        cut: why its end cannot be read, or None.
        expected: how many it should hold; None where nobody says.
        usual: of sound shards; taken for a cut one where nobody says.
    """
    if expected is None and cut is None:
        return []
    count = max(int(cut is not None), (usual if expected is None else expected) - found)
    reason = cut or f"{found:,} records, not the {expected:,} that its writer counted"
    return [f"{shard}/lost-{number}\tthe rest of the shard is lost: {reason}" for number in range(count)]


def shard_order(starts: Sequence[int], window: int, seed: int, epoch: int) -> np.ndarray:
    """All samples in the order of an epoch: shards shuffled, then every sample moved by less than ``window``
    places.

    Args:
        starts: number of the first sample of each shard, and the number of all samples.
        window: about the samples that a shuffle buffer would hold; 0 reads shards from end to end.

    Returns:
        (N,) int64.
    """
    rng = np.random.default_rng([seed, epoch])
    shards = rng.permutation(len(starts) - 1)
    in_shards = np.concatenate([np.arange(starts[n], starts[n + 1]) for n in shards])
    return in_shards[
        np.argsort(np.arange(len(in_shards)) + window * rng.random(len(in_shards)), kind="stable")
    ]


class ShardSampler(EpochSampler):
    """As `EpochSampler`, but each rank gets one stretch of `shard_order`, so that it reads shards of its own
    (save the two that it shares with its neighbours) and few of them at a time. Its workers take batches in
    turn.

    Args:
        starts, window: as for `shard_order`.
    """

    def __init__(
        self,
        starts: Sequence[int],
        window: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(starts[-1], batch_size, seed, rank, world_size)
        self.starts, self.window = starts, window

    @property
    def fingerprint(self) -> dict[str, int]:
        return super().fingerprint | {
            "shards": len(self.starts) - 1,
            "window": self.window,
            "processes": self.world_size,
        }

    def __iter__(self) -> Iterator[tuple[int, int]]:
        stretch = self.size // self.world_size
        skip, self.skip_batches = self.skip_batches * self.batch_size, 0
        order = shard_order(self.starts, self.window, self.seed, self.epoch)[self.rank * stretch :][
            skip : self.per_rank
        ].copy()
        epoch = self.epoch
        yield from ((epoch, int(index)) for index in order)


class OpenShard(NamedTuple):
    """A shard that is being read: its file, and where in it the image of each row lies."""

    descriptor: int
    offsets: np.ndarray
    sizes: np.ndarray


class ShardSource(CaptionSource):
    """The records of shards.

    Args:
        root: folder of the data set, where the indexes are kept.
        shards: tar files.
        cache_dir: where they are kept if ``root`` cannot be written.
        window: within which samples are shuffled.

    Attributes:
        ignored: members that are neither image, text nor json, by kind.
        digest: of the shards' names and numbers of records: two sources that agree in it train in the same
            order.

    Raises:
        DataError: a shard cannot be opened, or none holds a record.
    """

    def __init__(
        self, root: Path, shards: Sequence[Path], cache_dir: Path = Path(".cache"), window: int = 10_000
    ) -> None:
        self.shards, self.window = list(shards), window
        progress = tqdm(self.shards, desc="opening shards", unit=" shards", leave=False, delay=2)
        self.indexes = [
            open_index(root, shard.name, [shard], SCHEMA, partial(shard_rows, shard), cache_dir=cache_dir)
            for shard in progress
        ]
        self.starts = [0, *accumulate(map(len, self.indexes))]
        self.ignored: Counter[str] = Counter()
        self.broken = self._faults()
        if not len(self):
            reason = f" ({self.broken[0]})" if self.broken else ""
            raise DataError(
                f"{root.absolute()}: none of {len(self.shards)} shards holds an image with a caption{reason}."
            )
        listed = [(shard.name, len(index)) for shard, index in zip(self.shards, self.indexes, strict=True)]
        self.digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:12]
        self._open: OrderedDict[int, OpenShard] = OrderedDict()

    def _faults(self) -> list[str]:
        """The lines of ``broken``; counts what was ignored on the way."""
        of_shard = [[line.split("\t") for line in index.broken] for index in self.indexes]
        cuts = [next((words[1] for words in lines if words[0] == CUT), None) for lines in of_shard]
        usual = int(
            statistics.median(
                [len(index) for index, cut in zip(self.indexes, cuts, strict=True) if cut is None] or [0]
            )
        )
        expected = expected_records(self.shards)
        faults = []
        for shard, index, lines, cut in zip(self.shards, self.indexes, of_shard, cuts, strict=True):
            records = ["\t".join(words) for words in lines if words[0] not in {IGNORED, CUT}]
            self.ignored.update({words[2]: int(words[1]) for words in lines if words[0] == IGNORED})
            faults += records + lost_records(
                shard.name, len(index) + len(records), cut, expected.get(shard.name), usual
            )
        return faults

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        return self.starts[-1]

    def _row(self, index: int) -> tuple[int, ArrowIndex, int]:
        """The shard of a record, its index, and the row therein."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        shard = bisect_right(self.starts, index) - 1
        return shard, self.indexes[shard], index - self.starts[shard]

    def key(self, index: int) -> str:
        shard, rows, row = self._row(index)
        return f"{self.shards[shard].name}/{rows.value(row, 'key')}"

    def captions(self, index: int) -> list[str]:
        _, rows, row = self._row(index)
        return [rows.value(row, "caption")]

    def image(self, index: int) -> np.ndarray:
        return read_image(io.BytesIO(self.encoded_image(index)), self.key(index))

    def encoded_image(self, index: int) -> bytes:
        """An image as it lies in its shard. Raises `DataError` if the shard cannot be read any more."""
        shard, _, row = self._row(index)
        try:
            opened = self._opened(shard)
            return os.pread(opened.descriptor, opened.sizes.item(row), opened.offsets.item(row))
        except OSError as error:
            raise DataError(f"{self.shards[shard]}: not readable ({error})") from error

    def _opened(self, shard: int) -> OpenShard:
        """The ones used last are kept open."""
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        columns = [self.indexes[shard].column(name).to_numpy() for name in ("offset", "size")]
        self._open[shard] = OpenShard(
            os.open(self.shards[shard], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)), *columns
        )
        if len(self._open) > OPEN_SHARDS:
            os.close(self._open.popitem(last=False)[1].descriptor)
        return self._open[shard]

    def sampler(self, batch_size: int, seed: int, rank: int, world_size: int) -> ShardSampler:
        """In which order a rank is trained on the records."""
        return ShardSampler(self.starts, self.window, batch_size, seed, rank, world_size)
