"""Image-text pairs in tar shards as a data set, read by position and not by passing through them.

Each shard is gone through once, and an Arrow index keeps where every image lies, and its caption. That is
simpler than a stream of tar members, and exact, for what training asks of it then is what it asks of any data
set:

- the length of an epoch is known and the same on all ranks;
- the order is a pure function of (seed, epoch), so that the batch count in Lightning's checkpoint is all the
  state that a resume in mid-epoch needs;
- a sample belongs to one rank whatever the number of shards, so that no rank waits for work;
- what is missing or broken is known before training.

Reads stay local: shards come in random order, and samples are shuffled within a window, as by a shuffle
buffer, so that a rank reads from few shards at a time. The price is the pass at the first start (some 15,000
pairs a second), and that shards must lie in a file system.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import statistics
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, open_index
from datamodules.storage.shard_contents import CUT, IGNORED, SCHEMA, shard_rows
from datamodules.storage.shard_counts import expected_records, lost_records
from datamodules.storage.shard_sampler import ShardSampler

MAX_OPEN_SHARDS = 8


class OpenShard(NamedTuple):
    """A shard that is being read: its file, and where in it the image of each row lies."""

    descriptor: int
    offsets: np.ndarray
    sizes: np.ndarray


class ShardSource(CaptionSource):
    """The records of shards.

    Args:
        root: folder of the data set, where the indexes are kept.
        shards: paths of the tar files.
        cache_dir: where the indexes are kept if ``root`` cannot be written.
        window: within which samples are shuffled.

    Attributes:
        starts: number of the first record of each shard, then the number of all records.
        ignored: how many members are neither image, text nor json, by kind.
        digest: of the shards' names and numbers of records: two sources that agree in it train in the same
            order.

    Raises:
        DataError: a shard cannot be opened, or none holds a record.
    """

    def __init__(
        self, root: Path, shards: Sequence[Path], cache_dir: Path = Path(".cache"), window: int = 10_000
    ) -> None:
        self.shards = list(shards)
        self.window = window
        progress = tqdm(self.shards, desc="opening shards", unit=" shards", leave=False, delay=2)
        self.indexes = [
            open_index(root, shard.name, [shard], SCHEMA, partial(shard_rows, shard), cache_dir=cache_dir)
            for shard in progress
        ]
        self.starts = [0, *accumulate(map(len, self.indexes))]
        self.ignored: Counter[str] = Counter()
        self.broken = self._broken_records()
        if not len(self):
            reason = f" ({self.broken[0]})" if self.broken else ""
            raise DataError(
                f"{root.absolute()}: none of {len(self.shards)} shards holds an image with a caption{reason}."
            )
        sizes = [(shard.name, len(index)) for shard, index in zip(self.shards, self.indexes, strict=True)]
        self.digest = hashlib.sha256(json.dumps(sizes).encode()).hexdigest()[:12]
        self._open: OrderedDict[int, OpenShard] = OrderedDict()

    def _broken_records(self) -> list[str]:
        """The lines of ``broken``; counts what was ignored on the way."""
        broken_records: list[list[str]] = []
        cuts: list[str | None] = []
        for index in self.indexes:
            lines = [line.split("\t") for line in index.broken]
            broken_records.append(["\t".join(words) for words in lines if words[0] not in {IGNORED, CUT}])
            cuts.append(next((words[1] for words in lines if words[0] == CUT), None))
            self.ignored.update({words[2]: int(words[1]) for words in lines if words[0] == IGNORED})
        sound_sizes = [len(index) for index, cut in zip(self.indexes, cuts, strict=True) if cut is None]
        usual = int(statistics.median(sound_sizes)) if sound_sizes else 0
        expected = expected_records(self.shards)
        broken: list[str] = []
        for shard, index, records, cut in zip(self.shards, self.indexes, broken_records, cuts, strict=True):
            present = len(index) + len(records)
            broken += records
            broken += lost_records(shard.name, present, cut, expected.get(shard.name), usual)
        return broken

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        return self.starts[-1]

    def _locate(self, index: int) -> tuple[int, ArrowIndex, int]:
        """The shard of a record, its index, and the row therein."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        shard = bisect_right(self.starts, index) - 1
        return shard, self.indexes[shard], index - self.starts[shard]

    def key(self, index: int) -> str:
        """Name of the shard and key of the record, separated by a slash."""
        shard, rows, row = self._locate(index)
        return f"{self.shards[shard].name}/{rows.value(row, 'key')}"

    def captions(self, index: int) -> list[str]:
        """The one caption of a record."""
        _, rows, row = self._locate(index)
        return [rows.value(row, "caption")]

    def image(self, index: int) -> np.ndarray:
        """The decoded image of a record, (H,W,3) uint8.

        Raises:
            DataError: the image or its shard cannot be read.
        """
        return read_image(io.BytesIO(self.encoded_image(index)), self.key(index))

    def encoded_image(self, index: int) -> bytes:
        """The image of a record as it lies in its shard.

        Raises:
            DataError: the shard cannot be read any more.
        """
        shard, _, row = self._locate(index)
        try:
            opened = self._open_shard(shard)
            return os.pread(opened.descriptor, opened.sizes.item(row), opened.offsets.item(row))
        except OSError as error:
            raise DataError(f"{self.shards[shard]}: not readable ({error})") from error

    def _open_shard(self, shard: int) -> OpenShard:
        """Opens a shard; those used last are kept open."""
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        offsets = self.indexes[shard].column("offset").to_numpy()
        sizes = self.indexes[shard].column("size").to_numpy()
        descriptor = os.open(self.shards[shard], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._open[shard] = OpenShard(descriptor, offsets, sizes)
        if len(self._open) > MAX_OPEN_SHARDS:
            _, least_recent = self._open.popitem(last=False)
            os.close(least_recent.descriptor)
        return self._open[shard]

    def sampler(self, batch_size: int, seed: int, rank: int, world_size: int) -> ShardSampler:
        """The order in which a rank is trained on the records, as for `ShardSampler`."""
        return ShardSampler(self.starts, self.window, batch_size, seed, rank, world_size)
