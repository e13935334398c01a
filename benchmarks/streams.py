"""How fast image-text shards are read beside decoding alone, whether memory stays flat, and whether a killed
run goes on with the rest of its epoch.

    python -m benchmarks.streams [--pairs 200000 --side 96 --workers 1 --window 10000 --folder DIR]

It writes shards as img2dataset would (10,000 JPEGs of 96 pixels each, all different) into a temporary folder,
builds the index, and reads one epoch. What it is compared with: `read_image` alone on the same JPEGs in
memory, in one process; the same loader over JPEGs in memory, so that it decodes and knows no shard; and
webdataset. All take turns, so that whatever else the machine does strikes each; processor seconds hardly
depend on that. Then a training run of the whole epoch is killed with SIGKILL in its midst and resumed from
its last checkpoint.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from datamodules.base import ignore_interrupts
from datamodules.batches import ImageTextBatch, Preprocessing
from datamodules.handover import Needs
from datamodules.kinds.captions import CaptionSource, CaptionView, collate_captions
from datamodules.kinds.training import Augmentation
from datamodules.sets.conceptual_captions import ConceptualCaptions, find_shards
from datamodules.storage.images import read_image, to_tensor
from datamodules.storage.shards import ShardSource

PER_SHARD, BATCH, SEED = 10_000, 64, 1
TURNS = 20
PREPROCESSING = Preprocessing(96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WORDS = (
    "a",
    "red",
    "green",
    "dog",
    "cat",
    "street",
    "house",
    "under",
    "behind",
    "near",
    "two",
    "people",
    "holding",
    "small",
    "photo",
    "of",
    "the",
)


def write_shards(root: Path, pairs: int, side: int = 96) -> None:
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
                y, x = rng.integers(0, 1024 - side, 2)
                caption = " ".join(rng.choice(WORDS, 10))
                told = {
                    "key": f"{n:09d}",
                    "status": "success",
                    "caption": caption,
                    "url": f"http://example.org/{n}.jpg",
                    "width": side,
                }
                jpeg = cv2.imencode(".jpg", canvas[y : y + side, x : x + side])[1].tobytes()
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
    return sum(int(found[11]) + int(found[12]) for found in fields) / os.sysconf("SC_CLK_TCK")


def workers_of(batches: Any) -> list[int]:
    return [worker.pid for worker in batches._workers]


def rates(step: Callable[[], int], processes: Sequence[int]) -> tuple[float, float]:
    """Samples a second, and a processor second of ``processes``, in one call, which returns how many it took."""
    begun, used = time.perf_counter(), processor_seconds(processes)
    count = step()
    return count / (time.perf_counter() - begun), count / (processor_seconds(processes) - used)


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


def measure_reading(root: Path, source: ShardSource, workers: int, side: int) -> None:
    """One epoch through the loader, in turns with decoding alone, with the same loader over records in
    memory, and with webdataset.
    """
    common = (replace(PREPROCESSING, image_size=side), Augmentation(), SEED)
    memory = InMemory(source, 20_000)  # more than a processor's cache holds
    loading: dict[str, Any] = {
        "batch_size": BATCH,
        "num_workers": workers,
        "collate_fn": collate_captions,
        "worker_init_fn": ignore_interrupts,
    }
    loader = DataLoader(CaptionView(source, *common), sampler=source.sampler(BATCH, SEED, 0, 1), **loading)
    repeated = [(0, 7919 * n % len(memory)) for n in range(len(source))]
    batches, at_hand = (
        iter(loader),
        iter(DataLoader(CaptionView(memory, *common), sampler=repeated, **loading)),
    )
    other, me = webdataset_batches(find_shards(root, "gcc3m"), workers), [os.getpid()]
    times_seen = np.zeros(len(source), int)
    names = (
        "decoding alone, without a loader",
        "the same loader over records in memory",
        "stream",
        "webdataset",
    )
    found, unshared = [], []

    def read(count: int) -> int:
        keys = [int(key[-9:]) for batch in islice(batches, count) for key in batch.keys]
        np.add.at(times_seen, keys, 1)
        return len(keys)

    # First, so that neither loader's start counts; and both have fetched ahead whenever it is their turn.
    read(1), next(at_hand), next(other)
    per_turn = (len(loader) - 1) // TURNS
    few = min(60, per_turn // 2)
    for n in tqdm(range(TURNS), desc="reading an epoch"):
        jpegs = [jpeg for _, jpeg, _ in memory.records[n::TURNS]]
        turn = [rates(lambda jpegs=jpegs: len([decode(jpeg) for jpeg in jpegs]), me)]
        turn.append(rates(lambda: BATCH * len(list(islice(at_hand, few))), workers_of(at_hand)))
        turn.append(rates(lambda: read(per_turn), workers_of(batches)))
        turn.append(rates(lambda: BATCH * len(list(islice(other, few))), workers_of(other)))
        found.append(turn)
        unshared.append(anonymous_memory([*me, *workers_of(batches)]))
    read(len(loader))
    turns = np.array(found)  # turn, way of reading, (wall clock, processor)
    for n, name in enumerate(names):
        wall, busy = np.median(turns[:, n], axis=0)
        share, busy_share = np.median(turns[:, n] / turns[:, 0], axis=0)
        print(
            f"{name}: {wall:,.0f} samples a second ({share:.3f} of decoding alone), {busy:,.0f} a processor second ({busy_share:.3f})"
        )
    beside = turns[:, 2] / turns[:, 1]
    (wall, busy), low, high = np.median(beside, axis=0), *np.quantile(beside[:, 0], (0.25, 0.75))
    print(
        f"the stream beside the loader that only decodes: {wall:.3f} by the clock (quartiles {low:.3f}, {high:.3f}), {busy:.3f} by processor seconds"
    )
    print(
        f"samples of the epoch: {times_seen.sum():,} of {len(source):,}, in whole batches of {BATCH}; seen at most {times_seen.max()} time(s)"
    )
    for name, row in zip(("main process", *["worker"] * workers), np.array(unshared).T, strict=True):
        print(
            f"unshared memory of the {name}: {row[1]:.1f} MiB after two turns, {row[-1]:.1f} at the end, {row.max():.1f} at most"
        )


class Listener(pl.LightningModule):
    """Writes down what it is fed."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log_path, self.weight = log, torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> torch.Tensor:
        with self.log_path.open("a") as file:
            file.write(f"{batch_idx} {' '.join(batch.keys)}\n")
        return self.weight * batch.images[:, :, 0, 0].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(root: Path, folder: Path, log: str, workers: int, window: int) -> None:
    """One epoch; it goes on from the last checkpoint in ``folder`` if there is one."""
    data = ConceptualCaptions(
        root, batch_size=BATCH, num_workers=workers, seed=SEED, shuffle_window=window, cache_dir=folder
    )
    data.serve(Needs(ImageTextBatch, PREPROCESSING, "Listener"))
    keep = pl.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=200)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[keep],
        default_root_dir=folder, use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    last = folder / "last.ckpt"
    trainer.fit(Listener(folder / log), data, ckpt_path=last if last.exists() else None)


def measure_resuming(root: Path, pairs: int, workers: int, window: int) -> None:
    """Kills a run near three fifths of its epoch and resumes it."""
    folder = root / "run"
    folder.mkdir()
    call = "from pathlib import Path; from benchmarks.streams import train; train(Path({!r}), Path({!r}), {!r}, {}, {})"

    def start(log: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            call.format(str(root), str(folder), log, workers, window),
        ]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def lines(log: str) -> list[list[str]]:
        path = folder / log
        return (
            [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if path.exists()
            else []
        )

    total = pairs // BATCH
    killed = start("killed.txt")
    while len(lines("killed.txt")) < 0.6 * total:
        assert killed.poll() is None, "the run ended by itself"
        time.sleep(0.5)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert start("resumed.txt").wait() == 0
    before, after = lines("killed.txt"), lines("resumed.txt")
    first = int(after[0][0])
    seen = Counter(key for line in before[:first] + after for key in line[1:])
    print(
        f"killed in batch {len(before):,} of {total:,}, resumed at {first:,}: {len(seen):,} samples, each {set(seen.values())} time(s)"
    )
    assert set(seen.values()) == {1}
    assert len(seen) == total * BATCH
    assert [line[1:] for line in before[first:]] == [line[1:] for line in after[: len(before) - first]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=96, help="of an image, in pixels")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--window", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        write_shards(root, options.pairs, options.side)
        shards = find_shards(root, "gcc3m")
        print(
            f"{options.pairs:,} pairs in {len(shards)} shards, {sum(path.stat().st_size for path in shards) / 2**20:,.0f} MiB"
        )
        built = rates(lambda: len(ShardSource(root, shards)), [os.getpid()])
        print(f"index built: {built[0]:,.0f} pairs a second, {built[1]:,.0f} a processor second; ", end="")
        begun = time.perf_counter()
        source = ShardSource(root, shards, window=options.window)
        print(f"opened again in {time.perf_counter() - begun:.3f} s")
        measure_reading(root, source, options.workers, options.side)
        measure_resuming(root, options.pairs, options.workers, options.window)


if __name__ == "__main__":
    main()
