"""Shards as a data set: the order of an epoch, its division among processes and workers, resuming, and every
way in which a tar file is damaged.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import signal
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from datamodules.batches import ImageTextBatch
from datamodules.errors import DataError
from datamodules.handover import Needs
from datamodules.sets.conceptual_captions import ConceptualCaptions
from datamodules.storage.shard_contents import shard_contents
from datamodules.storage.shard_counts import lost_records
from datamodules.storage.shard_sampler import ShardSampler, shard_order
from datamodules.storage.shards import MAX_OPEN_SHARDS, ShardSource
from tests.datamodules.feeding import PLAIN, attach
from tests.fakes.conceptual_captions import Members, cut, record, write_shard
from tests.forked import finish, start

STARTS = [0, 40, 40, 50, 90, 100]


def write_shards(root: Path, *sizes: int) -> list[Path]:
    for number, size in enumerate(sizes):
        write_shard(
            root / f"{number:05d}.tar",
            [
                member
                for n in range(size)
                for member in record(f"{number:05d}{n:04d}", f"caption {number} {n}", shade=n)
            ],
        )
    return sorted(root.glob("*.tar"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    write_shards(root, 16, 7, 1, 16)
    return root


def feed(root: Path, rank: int = 0, world_size: int = 1, **options: Any) -> Any:
    options = {"batch_size": 2, "num_workers": 0, "seed": 3, "shuffle_window": 10, **options}
    return attach(
        ConceptualCaptions(root, cache_dir=root / "cache", **options),
        root / "run",
        rank=rank,
        world_size=world_size,
        stage="fit",
    )


def keys(loader: Any, epoch: int = 0) -> list[list[str]]:
    loader.sampler.set_epoch(epoch)
    return [batch.keys for batch in loader]


# The order of an epoch.


@pytest.mark.parametrize("window", [0, 1, 7, 1000])
def test_an_order_is_a_permutation_that_moves_samples_within_the_window(window: int) -> None:
    order = shard_order(STARTS, window, seed=1, epoch=2)
    in_shards = shard_order(STARTS, 0, seed=1, epoch=2)
    assert sorted(order) == list(range(100))
    place = np.empty(100, int)
    place[in_shards] = np.arange(100)
    assert np.abs(place[order] - np.arange(100)).max() <= window
    assert (order == in_shards).all() == (window <= 1)


def test_without_a_window_shards_are_read_from_end_to_end() -> None:
    order = shard_order(STARTS, 0, seed=1, epoch=0)
    jumps = np.flatnonzero(np.diff(order) != 1)
    assert len(jumps) <= 3
    assert set(order[jumps + 1]) <= set(STARTS)


def test_every_epoch_and_seed_has_its_own_order() -> None:
    orders = {tuple(shard_order(STARTS, 5, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert tuple(shard_order(STARTS, 5, 1, 1)) in orders


@pytest.mark.parametrize(
    ("starts", "world_size"), [([0, 103], 4), (STARTS, 8), ([0, 1, 2, 90], 3), ([0, 10], 10)]
)
def test_ranks_share_an_epoch_evenly_whatever_the_shards(starts: list[int], world_size: int) -> None:
    drawn = [
        [index for _, index in ShardSampler(starts, 20, 1, 5, rank, world_size)] for rank in range(world_size)
    ]
    assert (
        {len(part) for part in drawn}
        == {len(ShardSampler(starts, 20, 1, 5, 0, world_size))}
        == {starts[-1] // world_size}
    )
    assert len(set().union(*drawn)) == starts[-1] // world_size * world_size


def test_a_rank_reads_few_shards_at_a_time() -> None:
    starts = list(range(0, 10_001, 100))
    for rank in range(4):
        drawn = [index // 100 for _, index in ShardSampler(starts, 100, 1, 5, rank, 4)]
        assert len(set(drawn)) <= 25 + 2 * 2
        assert max(len(set(drawn[n : n + 50])) for n in range(0, 2500, 50)) <= 4


# Processes and workers.


@pytest.mark.parametrize("workers", [0, 1])
def test_two_processes_see_each_sample_once(workers: int, shards: Path) -> None:
    loaders = [feed(shards, rank, 2, num_workers=workers).train_dataloader() for rank in range(2)]
    seen = [keys(loader) for loader in loaders]
    assert len(seen[0]) == len(seen[1]) == len(loaders[0]) == 10
    assert set(Counter(key for part in seen for batch in part for key in batch).values()) == {1}
    assert len({key for part in seen for batch in part for key in batch}) == 40


def test_workers_change_nothing(shards: Path) -> None:
    alone = keys(feed(shards).train_dataloader())
    assert len({key for batch in alone for key in batch}) == 40
    for workers in (1, 3):
        assert keys(feed(shards, num_workers=workers).train_dataloader()) == alone


def test_fewer_shards_than_processes(tmp_path: Path) -> None:
    write_shards(tmp_path, 17)
    loaders = [feed(tmp_path, rank, 4).train_dataloader() for rank in range(4)]
    seen = [[key for batch in keys(loader) for key in batch] for loader in loaders]
    assert [len(part) for part in seen] == [4, 4, 4, 4]
    assert len(set().union(*seen)) == 16


def test_few_shards_are_open_at_a_time(tmp_path: Path) -> None:
    source = ShardSource(tmp_path, write_shards(tmp_path, *[1] * 20))
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for index in [*range(20), *range(20)]:
        assert source.image(index).shape == (12, 16, 3)
    assert len(source._open) == MAX_OPEN_SHARDS
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) - before == MAX_OPEN_SHARDS


def test_a_source_can_be_sent_to_another_process(shards: Path) -> None:
    source = feed(shards).training_source()
    source.image(0)
    sent = pickle.dumps(source)
    assert len(sent) < 5_000
    assert [pickle.loads(sent).key(index) for index in range(40)] == [
        source.key(index) for index in range(40)
    ]
    assert (pickle.loads(sent).image(39) == source.image(39)).all()


# Resuming.


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("epoch", "processed"), [(0, 0), (0, 3), (2, 9)])
def test_a_resumed_epoch_gives_the_rest_once(epoch: int, processed: int, rank: int, shards: Path) -> None:
    whole = keys(feed(shards, rank, 2).train_dataloader(), epoch)
    data = feed(shards, rank, 2, num_workers=1)
    data.trainer.fit_loop.epoch_progress.current.ready = epoch + 1
    data.trainer.fit_loop.epoch_loop.batch_progress.current.processed = processed
    loader = data.train_dataloader()
    assert [batch.keys for batch in loader] == whole[processed:]
    assert keys(loader, epoch + 1) != whole[:10]


class Learner(pl.LightningModule):
    """Writes down what it is fed, and may be killed in a step: its checkpoint then knows the steps before."""

    def __init__(self, log: Path, dies_at: int | None = None) -> None:
        super().__init__()
        self.log_path = log
        self.dies_at = dies_at
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> torch.Tensor:
        if self.global_step == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with self.log_path.open("a") as file:
            file.write(f"{self.current_epoch} {batch_idx} {' '.join(batch.keys)} {batch.images.sum():.3f}\n")
        return self.weight * batch.images.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(root: Path, folder: Path, dies_at: int | None = None, resume: bool = False) -> None:
    data = ConceptualCaptions(
        root, cache_dir=root / "cache", batch_size=4, num_workers=1, seed=3, shuffle_window=10
    )
    data.serve(Needs(ImageTextBatch, PLAIN, "Learner"))
    keep = pl.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keep],
        default_root_dir=folder,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    checkpoint = folder / "last.ckpt" if resume else None
    trainer.fit(Learner(folder / "log.txt", dies_at), data, ckpt_path=checkpoint)


def test_a_killed_run_goes_on_with_the_rest(shards: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    killed = tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    fit(shards, whole)
    code, output = finish(start(fit, shards, killed, 13))
    assert code == -signal.SIGKILL, output
    assert len((killed / "log.txt").read_text().splitlines()) == 13
    fit(shards, killed, resume=True)
    lines = (killed / "log.txt").read_text().splitlines()
    assert lines == (whole / "log.txt").read_text().splitlines()
    assert Counter(key for line in lines[10:] for key in line.split()[2:-1]) == Counter(
        key for line in lines[:10] for key in line.split()[2:-1]
    )
    assert len(lines) == 20


# Damaged shards.


def tar_of(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


WHOLE = tar_of([m for n in range(4) for m in record(f"{n}", f"caption {n}")])
with tarfile.open(fileobj=io.BytesIO(WHOLE)) as read:
    HEADERS = [member.offset for member in read.getmembers()]
    END = read.getmembers()[-1].offset_data + 512


@pytest.mark.parametrize(
    "length",
    [0, 1, 511, 512, 513, *range(700, END, 461), *HEADERS[1:], *(offset + 600 for offset in HEADERS), END],
)
def test_a_tar_cut_anywhere(length: int) -> None:
    contents = shard_contents(io.BytesIO(WHOLE[:length]))
    assert contents.cut
    assert all(
        member.offset + member.size <= length
        for members in contents.records.values()
        for member in members.values()
    )
    complete = sum(length >= offset + (512 if offset == HEADERS[-1] else 0) for offset in HEADERS[3::3])
    assert sum(len(members) == 3 for members in contents.records.values()) >= complete


@pytest.mark.parametrize("length", [END + 512, END + 1024, len(WHOLE)])
def test_the_zeros_at_the_end_may_be_short(length: int) -> None:
    contents = shard_contents(io.BytesIO(WHOLE[:length]))
    assert contents.cut is None
    assert [set(members) for members in contents.records.values()] == [{"image", "json", "txt"}] * 4


def damaged(at: int, content: bytes) -> bytes:
    return WHOLE[:at] + content + WHOLE[at + len(content) :]


def negative_size() -> bytes:
    """A header that says that its file ends before it begins."""
    header = bytearray(WHOLE[HEADERS[6] : HEADERS[6] + 512])
    header[124:136] = (2**96 - 4096).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return damaged(HEADERS[6], bytes(header))


DAMAGES = {
    "a header of noise": damaged(HEADERS[6], bytes(range(256)) * 2),
    "a wrong checksum": damaged(HEADERS[6] + 148, b"000000"),
    "zeros in the midst": damaged(HEADERS[6], bytes(1024)),
    "nothing but zeros from there": WHOLE[: HEADERS[6]] + bytes(2 << 20),
    "two archives one after the other": tar_of(record("0", "a") + record("1", "b")) + WHOLE,
    "a negative size": negative_size(),
    "a long name that never ends": tar_of(record("0", "a") + record("1", "b"))[: HEADERS[6]]
    + tar_of([("x" * 300 + ".jpg", b"a")])[:700],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_tar_damaged_in_its_midst(damage: str) -> None:
    contents = shard_contents(io.BytesIO(DAMAGES[damage]))
    assert contents.cut
    assert [set(contents.records.get(key, ())) for key in "01"] == [{"image", "json", "txt"}] * 2
    assert len(contents.records) <= 3


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar", gzip.compress(WHOLE), os.urandom(4096)],
    ids=["empty", "text", "gzip", "noise"],
)
def test_what_is_no_tar(content: bytes) -> None:
    contents = shard_contents(io.BytesIO(content))
    assert contents.cut
    assert not contents.records


def test_the_rest_of_a_cut_shard_is_counted_by_the_others(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 10, 10, 10)
    cut(paths[1], 0.45)
    source = ShardSource(tmp_path, paths)
    assert len(source) + len(source.broken) == 30
    assert {line.split("/")[0] for line in source.broken} == {"00001.tar"}


@pytest.mark.parametrize(
    ("present", "torn", "expected", "usual", "lost"),
    [
        (5, None, None, 9, 0),
        (5, None, 5, 9, 0),
        (5, None, 8, 9, 3),
        (5, "torn", 8, 9, 3),
        (5, "torn", None, 9, 4),
        (9, "torn", None, 9, 1),
        (7, None, 5, 9, 0),
    ],
)
def test_records_that_a_shard_has_lost(
    present: int, torn: str | None, expected: int | None, usual: int, lost: int
) -> None:
    lines = lost_records("a.tar", present, torn, expected, usual)
    assert len({line.split("\t")[0] for line in lines}) == len(lines) == lost
    assert all(
        "the rest of the shard is lost" in line and (torn or "that its writer counted") in line
        for line in lines
    )


def test_a_shard_that_changes_is_read_again(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3, 2)
    first = ShardSource(tmp_path, paths)
    assert ShardSource(tmp_path, paths).digest == first.digest
    write_shards(tmp_path, 4)
    second = ShardSource(tmp_path, paths)
    assert (len(first), len(second)) == (5, 6)
    assert first.digest != second.digest


def test_a_shard_that_is_cut_while_training(tmp_path: Path) -> None:
    source = ShardSource(tmp_path, write_shards(tmp_path, 3, 3))
    cut(tmp_path / "00000.tar", 0.1)
    (tmp_path / "00001.tar").unlink()
    with pytest.raises(DataError, match=r"00000.tar/000000002: not readable as an image"):
        source.image(2)
    with pytest.raises(DataError, match=r"00001.tar: not readable \(.*No such file"):
        source.image(3)
    with pytest.raises(IndexError):
        source.image(6)
