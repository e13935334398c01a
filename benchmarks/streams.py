"""How fast image-text shards are read beside decoding alone, whether memory stays flat, and whether a killed
run goes on with the rest of its epoch.

    python -m benchmarks.streams [--size tiny]

It writes 200,000 pairs into shards as img2dataset would (10,000 different JPEGs of 96 pixels in each), builds
the index, and reads one epoch. What it is compared with: `read_image` alone on the same JPEGs in memory, in
one process; the same loader over JPEGs in memory, so that it decodes and knows no shard; and webdataset. All
take turns, so that whatever else the machine does strikes each; processor seconds hardly depend on that. Then
a training run of the whole epoch is killed with SIGKILL in its midst and resumed from its last checkpoint.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks._common import Report, Size, in_own_process, rate_row, report
from datamodules.batches import ImageTextBatch, Preprocessing
from datamodules.handover import Needs
from datamodules.kinds.captions import CaptionSource, CaptionView, collate_captions
from datamodules.kinds.training import Augmentation
from datamodules.sets.conceptual_captions import ConceptualCaptions, find_shards
from datamodules.storage.images import read_image, to_tensor
from datamodules.storage.shards import ShardSource
from datamodules.workers import follow_the_main_process

SIDE = 96  # of an image, in pixels
PER_SHARD = 10_000
BATCH = 64
SEED = 1
TICK = 1 / os.sysconf("SC_CLK_TCK")  # the least processor time that the system tells, in seconds
PREPROCESSING = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WORDS = (  # noqa: SIM905 (a list of words reads better)
    "a red green dog cat street house under behind near two people holding small photo of the"
).split()


@dataclass(frozen=True)
class Scale:
    """How much is read.

    Args:
        pairs: images with a caption.
        window: of the stream's shuffling.
        in_memory: of the pairs so many are kept in memory; more than a processor's cache holds.
        turns: in which the ways of reading take turns within an epoch.
        checkpoint_every: training steps.
        workers: of every loader.
    """

    pairs: int = 200_000
    window: int = 10_000
    in_memory: int = 20_000
    turns: int = 20
    checkpoint_every: int = 200
    workers: int = 1


def write_shards(root: Path, pairs: int) -> None:
    """Shards of different JPEGs, cut from coloured noise of several scales."""
    rng = np.random.default_rng(SEED)
    scales = [
        cv2.resize(rng.normal(0, 1, (grid, grid, 3)), (1024, 1024), interpolation=cv2.INTER_CUBIC)
        for grid in (8, 32, 128, 512)
    ]
    canvas = np.clip(
        128 + sum(weight * noise for weight, noise in zip((45, 30, 15, 6), scales, strict=True)), 0, 255
    ).astype(np.uint8)
    for first in tqdm(range(0, pairs, PER_SHARD), desc="writing shards"):
        count = min(PER_SHARD, pairs - first)
        shard = root / f"{first // PER_SHARD:05d}.tar"
        with tarfile.open(shard, "w") as tar:
            for n in range(first, first + count):
                y, x = rng.integers(0, 1024 - SIDE, 2)
                caption = " ".join(rng.choice(WORDS, 10))
                told = {
                    "key": f"{n:09d}",
                    "status": "success",
                    "caption": caption,
                    "url": f"http://example.org/{n}.jpg",
                    "width": SIDE,
                }
                jpeg = cv2.imencode(".jpg", canvas[y : y + SIDE, x : x + SIDE])[1].tobytes()
                for suffix, content in (
                    ("jpg", jpeg),
                    ("json", json.dumps(told).encode()),
                    ("txt", caption.encode()),
                ):
                    info = tarfile.TarInfo(f"{n:09d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        shard.with_name(f"{shard.stem}_stats.json").write_text(
            json.dumps({"count": count, "successes": count})
        )


def decode(jpeg: bytes) -> np.ndarray:
    return read_image(cast(Path, io.BytesIO(jpeg)))


def decode_all(jpegs: Sequence[bytes]) -> int:
    """How many were decoded."""
    return len([decode(jpeg) for jpeg in jpegs])


class InMemory(CaptionSource):
    """Records spread evenly over a source, encoded as they are there."""

    def __init__(self, source: ShardSource, count: int) -> None:
        chosen = np.linspace(0, len(source) - 1, count).astype(int).tolist()
        self.records = [(source.key(n), source.encoded_image(n), source.captions(n)) for n in chosen]

    def __len__(self) -> int:
        return len(self.records)

    def key(self, index: int) -> str:
        return self.records[index][0]

    def image(self, index: int) -> np.ndarray:
        return decode(self.records[index][1])

    def captions(self, index: int) -> list[str]:
        return self.records[index][2]


def anonymous_memory(processes: Sequence[int]) -> list[float]:
    """MiB that each process shares with no file."""
    lines = [
        line
        for process in processes
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith("RssAnon")
    ]
    return [int(line.split()[1]) / 1024 for line in lines]


def processor_seconds(processes: Sequence[int]) -> float:
    fields = [Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split() for process in processes]
    return sum(int(found[11]) + int(found[12]) for found in fields) * TICK


def workers_of(batches: Any) -> list[int]:
    return [worker.pid for worker in batches._workers]


def rates(step: Callable[[], int], processes: Sequence[int]) -> tuple[float, float]:
    """Samples a second, and a processor second of ``processes``, in a call that returns how many it took."""
    begun = time.perf_counter()
    used_before = processor_seconds(processes)
    count = step()
    seconds = time.perf_counter() - begun
    used = processor_seconds(processes) - used_before
    return count / seconds, count / max(used, TICK)


def webdataset_batches(shards: Sequence[Path], workers: int) -> Any:
    """The same samples by the webdataset library, with a shuffle buffer of a usual size."""
    import webdataset as wds

    pipeline = (
        wds.WebDataset([str(path) for path in shards], shardshuffle=100, seed=SEED)
        .shuffle(5_000)
        .to_tuple("jpg", "txt", "__key__")
    )
    pairs = pipeline.map(lambda sample: (to_tensor(decode(sample[0])), sample[1].decode(), sample[2], []))
    return iter(DataLoader(pairs, BATCH, num_workers=workers, collate_fn=collate_captions))


@dataclass(frozen=True)
class Readers:
    """Iterators over batches of the same pairs: of the stream, of records in memory, and of webdataset."""

    stream: Any
    at_hand: Any
    other: Any
    memory: InMemory
    batches: int


def start_readers(root: Path, source: ShardSource, scale: Scale) -> Readers:
    """Every loader has fetched a batch, so that its start does not count, and fetches ahead between turns."""
    memory = InMemory(source, scale.in_memory)
    loading: dict[str, Any] = {
        "batch_size": BATCH,
        "num_workers": scale.workers,
        "collate_fn": collate_captions,
        "worker_init_fn": follow_the_main_process,
    }
    common = (PREPROCESSING, Augmentation(), SEED)
    repeated = [(0, 7919 * n % len(memory)) for n in range(len(source))]
    stream = DataLoader(CaptionView(source, *common), sampler=source.sampler(BATCH, SEED, 0, 1), **loading)
    at_hand = iter(DataLoader(CaptionView(memory, *common), sampler=repeated, **loading))
    other = webdataset_batches(find_shards(root, "gcc3m"), scale.workers)
    next(at_hand)
    next(other)
    return Readers(iter(stream), at_hand, other, memory, len(stream))


def measure_reading(root: Path, source: ShardSource, scale: Scale) -> Report:
    """One epoch through the loader, in turns with decoding alone, with the same loader over records in
    memory, and with webdataset.
    """
    readers = start_readers(root, source, scale)
    this_process = [os.getpid()]
    times_seen = np.zeros(len(source), int)

    def read(count: int) -> int:
        keys = [int(key[-9:]) for batch in islice(readers.stream, count) for key in batch.keys]
        np.add.at(times_seen, keys, 1)
        return len(keys)

    read(1)
    per_turn = (readers.batches - 1) // scale.turns
    few = min(60, per_turn // 2)
    turns = []
    unshared = []
    for n in tqdm(range(scale.turns), desc="reading an epoch", leave=False):
        jpegs = [jpeg for _, jpeg, _ in readers.memory.records[n :: scale.turns]]
        alone = rates(partial(decode_all, jpegs), this_process)
        at_hand = rates(lambda: BATCH * len(list(islice(readers.at_hand, few))), workers_of(readers.at_hand))
        stream = rates(lambda: read(per_turn), workers_of(readers.stream))
        other = rates(lambda: BATCH * len(list(islice(readers.other, few))), workers_of(readers.other))
        turns.append([alone, at_hand, stream, other])
        unshared.append(anonymous_memory([*this_process, *workers_of(readers.stream)]))
    read(readers.batches)
    assert times_seen.max() == 1, f"a pair was seen {times_seen.max()} times"
    assert times_seen.sum() == len(source) // BATCH * BATCH, f"only {times_seen.sum():,} pairs were seen"
    lines = [
        f"samples of the epoch: {times_seen.sum():,} of {len(source):,}, each once, in batches of {BATCH}"
    ]
    for name, row in zip(("main process", *["worker"] * scale.workers), np.array(unshared).T, strict=True):
        course = f"{row[1]:.1f} MiB after two turns, {row[-1]:.1f} at the end, {row.max():.1f} at most"
        lines.append(f"unshared memory of the {name}: {course}")
    return report_of_turns(np.array(turns), lines)


def report_of_turns(turns: np.ndarray, lines: list[str]) -> Report:
    """Medians of (turn, way of reading, (by the clock, by processor seconds)), followed by ``lines``."""
    names = ("decoding alone, without a loader", "same loader over records in memory", "stream", "webdataset")
    speeds = []
    rows = []
    for n, name in enumerate(names):
        wall, busy = np.median(turns[:, n], axis=0)
        share, busy_share = np.median(turns[:, n] / turns[:, 0], axis=0)
        by_clock = f"{wall:,.0f} samples a second ({share:.3f} of decoding alone)"
        speeds.append(f"{name}: {by_clock}, {busy:,.0f} a processor second ({busy_share:.3f})")
    beside = turns[:, 2] / turns[:, 1]
    wall, busy = np.median(beside, axis=0)
    low, high = np.quantile(beside[:, 0], (0.25, 0.75))
    by_clock = f"{wall:.3f} by the clock (quartiles {low:.3f}, {high:.3f})"
    speeds.append(
        f"the stream beside the loader that only decodes: {by_clock}, {busy:.3f} by processor seconds"
    )
    by_way = dict(zip(names, np.median(turns[:, :, 0], axis=0), strict=True))
    for name in names:
        if name != "stream":
            rows.append(
                rate_row("pairs from shards, a stream", "samples", by_way["stream"], by_way[name], name)
            )
    return Report([*speeds, *lines], rows)


class Listener(pl.LightningModule):
    """Writes down what it is fed, and kills its own process at batch ``killed_at``."""

    def __init__(self, log: Path, killed_at: int | None) -> None:
        super().__init__()
        self.log_path = log
        self.killed_at = killed_at
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> torch.Tensor:
        with self.log_path.open("a") as file:
            file.write(f"{batch_idx} {' '.join(batch.keys)}\n")
        if batch_idx == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.weight * batch.images[:, :, 0, 0].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(root: Path, log: Path, scale: Scale, killed_at: int | None) -> None:
    """One epoch; it goes on from the last checkpoint beside ``log`` if there is one."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    folder = log.parent
    data = ConceptualCaptions(
        root,
        batch_size=BATCH,
        num_workers=scale.workers,
        seed=SEED,
        shuffle_window=scale.window,
        cache_dir=folder,
    )
    data.serve(Needs(ImageTextBatch, PREPROCESSING, "Listener"))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            pl.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=scale.checkpoint_every)
        ],
        default_root_dir=folder,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    last = folder / "last.ckpt"
    trainer.fit(Listener(log, killed_at), data, ckpt_path=last if last.exists() else None)


def measure_resuming(root: Path, scale: Scale) -> list[str]:
    """Kills a run at three fifths of its epoch and resumes it."""
    folder = root / "run"
    folder.mkdir()
    total = scale.pairs // BATCH
    try:
        in_own_process(train, root, folder / "killed.txt", scale, 3 * total // 5)
    except BrokenProcessPool:
        in_own_process(train, root, folder / "resumed.txt", scale, None)
    else:
        raise AssertionError("the run was not killed")

    def logged(name: str) -> list[list[str]]:
        return [line.split() for line in (folder / name).read_text().splitlines()]

    before = logged("killed.txt")
    after = logged("resumed.txt")
    first = int(after[0][0])
    seen = Counter(key for line in before[:first] + after for key in line[1:])
    assert set(seen.values()) == {1}, f"samples were seen {set(seen.values())} times"
    assert len(seen) == total * BATCH, f"{len(seen):,} samples were seen, not {total * BATCH:,}"
    assert [line[1:] for line in before[first:]] == [line[1:] for line in after[: len(before) - first]]
    where = f"killed in batch {len(before):,} of {total:,}, resumed at {first:,}"
    return [f"{where}: {len(seen):,} samples, each once"]


def run(size: Size) -> Report:
    """The stream's speed as shares of decoding alone and of a loader that only decodes."""
    scale = (
        Scale(pairs=640, window=100, in_memory=200, turns=2, checkpoint_every=2)
        if size == "tiny"
        else Scale()
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_shards(root, scale.pairs)
        shards = find_shards(root, "gcc3m")
        mebibytes = sum(path.stat().st_size for path in shards) / 2**20
        built = rates(lambda: len(ShardSource(root, shards)), [os.getpid()])
        begun = time.perf_counter()
        source = ShardSource(root, shards, window=scale.window)
        opened = time.perf_counter() - begun
        reading = measure_reading(root, source, scale)
        resuming = measure_resuming(root, scale)
    index = f"index built: {built[0]:,.0f} pairs a second, {built[1]:,.0f} a processor second"
    lines = [
        f"{scale.pairs:,} pairs in {len(shards)} shards, {mebibytes:,.0f} MiB",
        f"{index}; opened again in {opened:.3f} s",
    ]
    return Report([*lines, *reading.lines, *resuming], reading.rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv)


if __name__ == "__main__":
    main()
