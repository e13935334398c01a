"""Every listed data set, read from a fake on disk: batches hold what was written, and processes share the
work without overlap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.base import GroundingDataModule
from datamodules.batches import GroundingBatch, ImageTextBatch, PhraseBatch
from datamodules.catalogue import CAPTIONS_AND_PHRASES
from datamodules.errors import DataError
from datamodules.sets.scenes import Scenes
from tests.datamodules.feeding import PLAIN, attach, batches
from tests.fakes import write_fake
from tests.fakes.base import Asked, Fake

LOADING = {"eval_batch_size": 2, "num_workers": 0, "max_skipped": 1.0}


@pytest.fixture(params=CAPTIONS_AND_PHRASES, ids=lambda found: found.__name__)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[type, Fake]:
    return request.param, write_fake(request.param, tmp_path / "data")


@pytest.fixture
def judged_set(written: tuple[type, Fake]) -> tuple[type, Fake]:
    if not written[1].queries:
        pytest.skip("only to learn from")
    return written


def make(kind: Any, fake: Fake, tmp_path: Path, **options: Any) -> GroundingDataModule:
    given = (
        options
        if "train" in fake.arguments
        else {"batch_size": 2, "cache_dir": tmp_path / "cache", **options}
    )
    return kind(**fake.arguments, **LOADING, **given)


def named_in_files(folder: Path) -> dict[str, list[str]]:
    """Set -> names in its skip file, in order."""
    files = folder.glob("skipped-*-rank0.tsv")
    return {
        path.name.split("-")[1]: [
            line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in files
    }


def judged(found: list[GroundingBatch]) -> dict[str, Asked]:
    """What a model would be asked, by key; each image's colour is that of the resized pixels."""
    asked = {}
    for batch in found:
        assert batch.images.dtype == torch.float32
        assert not len(batch) or batch.images.shape[1:] == (3, PLAIN.image_size, PLAIN.image_size)
        for query, key in enumerate(batch.keys):
            assert key not in asked
            image = int(batch.image_of_query[query])
            colour = (255 * batch.images[image].mean((1, 2))).round().int().tolist()
            asked[key] = Asked(
                tuple(colour),
                tuple(batch.sizes[image].tolist()),
                batch.phrases[query],
                batch.boxes[query].tolist(),
            )
    return asked


def assert_same(found: dict[str, Asked], written: dict[str, Asked]) -> None:
    assert sorted(found) == sorted(written)
    for key, expected in written.items():
        assert (found[key].phrase, found[key].size) == (expected.phrase, expected.size), key
        assert found[key].boxes == expected.boxes, key
        assert found[key].colour == pytest.approx(expected.colour, abs=6), key


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("world_size", [1, 2])
def test_evaluation_sees_every_sample_once(
    written: tuple[type, Fake], split: Any, world_size: int, tmp_path: Path
) -> None:
    kind, fake = written
    if not fake.queries:
        with pytest.raises(DataError, match=f"has no {split} split to judge on"):
            attach(make(kind, fake, tmp_path), tmp_path).setup({"val": "validate"}.get(split, split))
        return
    asked: dict[str, dict[str, Asked]] = {name: {} for name in fake.queries[split]}
    per_rank: list[int] = []
    for rank in range(world_size):
        data = attach(
            make(kind, fake, tmp_path),
            tmp_path,
            rank=rank,
            world_size=world_size,
            stage="test" if split == "test" else "validate",
        )
        data.setup("test" if split == "test" else "validate")
        sets = data.judged_sets()
        assert [judged_set.name for judged_set in sets] == list(fake.queries[split])
        if world_size > min(len(judged_set.source) for judged_set in sets):
            with pytest.raises(DataError, match="judge it with fewer"):
                data.val_dataloader()
            return
        loaders = data.test_dataloader() if split == "test" else data.val_dataloader()
        for number, (name, loader) in enumerate(zip(asked, loaders, strict=True)):
            found = judged(batches(data, loader, number))
            assert not set(found) & set(asked[name])
            asked[name] |= found
            per_rank.append(len(loader.sampler))
    assert max(per_rank[:: len(asked)]) - min(per_rank[:: len(asked)]) <= 1
    for name, expected in fake.queries[split].items():
        assert_same(asked[name], expected)


def test_training_gives_the_captions_that_were_written(written: tuple[type, Fake], tmp_path: Path) -> None:
    kind, fake = written
    data = attach(make(kind, fake, tmp_path), tmp_path, ImageTextBatch, stage="fit")
    data.setup("fit")
    loader = data.train_dataloader()
    assert fake.captions is not None
    seen: dict[str, set[str]] = {}
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)
        for batch in batches(data, loader):
            assert batch.images.shape == (2, 3, 8, 8)
            for key, caption in zip(batch.keys, batch.captions, strict=True):
                assert caption in fake.captions[key]
                seen.setdefault(key, set()).add(caption)
    assert set(seen) == set(fake.captions)
    several = any(len(set(captions)) > 1 for captions in fake.captions.values())
    assert any(len(captions) > 1 for captions in seen.values()) == several  # another caption in another epoch
    assert set(named_in_files(tmp_path).get("train", [])) == fake.skipped.get("train", set())


def test_phrases_come_from_the_captions(written: tuple[type, Fake], tmp_path: Path) -> None:
    kind, fake = written
    data = attach(make(kind, fake, tmp_path), tmp_path, PhraseBatch, stage="fit")
    data.prepare_data()
    data.setup("fit")
    rows = [
        row
        for batch in batches(data, data.train_dataloader())
        for row in zip(batch.keys, batch.phrases, batch.subjects, batch.partners, strict=True)
    ]
    assert rows
    assert fake.captions is not None
    for key, phrase, subject, partner in rows:
        texts = [" ".join(caption.lower().split()) for caption in fake.captions[key]]
        assert any(phrase.lower() in text for text in texts)
        assert subject in phrase.lower()
        assert partner is None or any(partner.lower() in text for text in texts)


def test_unreadable_records_are_named_once(judged_set: tuple[type, Fake], tmp_path: Path) -> None:
    kind, fake = judged_set
    data = attach(make(kind, fake, tmp_path), tmp_path)
    data.setup("test")
    for _ in range(2):
        for number, loader in enumerate(data.test_dataloader()):
            batches(data, loader, number)
    expected = {name: names for name, names in fake.skipped.items() if name in fake.queries["test"]}
    files = named_in_files(tmp_path)
    assert {name: sorted(names) for name, names in files.items()} == {
        name: sorted(names) for name, names in expected.items()
    }
    assert sum(len(ledger.skips.seen) for ledger in data.ledgers()) == sum(map(len, expected.values()))


def test_chains_are_numbered_within_the_batch(judged_set: tuple[type, Fake], tmp_path: Path) -> None:
    kind, fake = judged_set
    data = attach(make(kind, fake, tmp_path), tmp_path)
    data.setup("test")
    for number, (loader, judged_set) in enumerate(
        zip(data.test_dataloader(), data.judged_sets(), strict=True)
    ):
        source = judged_set.source
        names = {
            query.key: (image, query.chain) for image in range(len(source)) for query in source.queries(image)
        }
        for batch in batches(data, loader, number):
            chains = [names[key] for key in batch.keys]
            numbers = batch.chain_of_query.tolist()
            assert len(set(numbers)) == len(set(chains)) == len(set(zip(numbers, chains, strict=True)))


# What a user can get wrong.


def scenes(tmp_path: Path, train_batch: type = ImageTextBatch, **options: Any) -> Scenes:
    sizes = {
        "image_size": 32,
        "train_size": 8,
        "val_size": 0,
        "test_size": 3,
        "batch_size": 2,
        "num_workers": 0,
    }
    return attach(Scenes(**{**sizes, **options}), tmp_path, train_batch, stage="fit")


def test_fewer_images_than_a_batch(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"8 training images, fewer than one batch \(9 on each of 1 processes\): lower --data",
    ):
        scenes(tmp_path, batch_size=9).train_dataloader()


def test_a_batch_that_the_data_cannot_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trains on GroundingBatch, which scenes cannot give"):
        scenes(tmp_path, GroundingBatch).train_dataloader()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"eval_batch_size": -1}])
def test_batch_sizes_are_positive(options: dict[str, int]) -> None:
    with pytest.raises(DataError, match="at least 1"):
        Scenes(**options)


def test_a_split_without_queries(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scenes has no val split to judge on"):
        scenes(tmp_path).setup("validate")


def test_more_processes_than_images(tmp_path: Path) -> None:
    data = attach(Scenes(image_size=32, test_size=3, num_workers=0), tmp_path, world_size=4)
    data.setup("test")
    with pytest.raises(DataError, match="scenes has 3 images for 4 processes"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("ready", "seen", "is_last", "epoch"),
    [(0, 0, False, 0), (1, 1, False, 0), (3, 3, False, 2), (3, 4, True, 3), (3, 2, True, 3)],
)
def test_a_resumed_epoch_leaves_out_what_was_seen(
    ready: int, seen: int, is_last: bool, epoch: int, tmp_path: Path
) -> None:
    data = scenes(tmp_path)
    fresh = data.train_dataloader()
    fresh.sampler.set_epoch(epoch)
    everything = [batch.keys for batch in fresh]
    data.trainer.fit_loop.epoch_progress.current.ready = ready
    data.trainer.fit_loop.epoch_loop.batch_progress.current.processed = seen
    data.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = (
        is_last  # also where trainer.limit_train_batches ended the epoch
    )
    loader = data.train_dataloader()
    assert [batch.keys for batch in loader] == everything[0 if is_last else seen :]
    assert [batch.keys for batch in loader] == everything  # the next time it is whole again
