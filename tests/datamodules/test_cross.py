from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.cross import CrossDataset
from datamodules.errors import DataError
from datamodules.kinds.training import Augmentation
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from datamodules.sets.scenes import Scenes
from tests.fakes import image_caption_folder


def test_training_options_are_those_of_the_training_set(tmp_path: Path) -> None:
    augmentation = Augmentation(flip=0.5)
    train = Scenes(
        batch_size=7, eval_batch_size=9, num_workers=0, augmentation=augmentation, cache_dir=tmp_path, seed=3
    )
    data = CrossDataset(train=train)
    assert (data.name, data.batch_size, data.eval_batch_size, data.num_workers, data.seed) == (
        "scenes",
        7,
        9,
        0,
        3,
    )
    assert (data.augmentation, data.chunker, data.phrase_cache.path) == (
        augmentation,
        train.chunker,
        tmp_path / "phrases.sqlite",
    )
    assert (
        CrossDataset(train=train, eval_batch_size=1, num_workers=2).eval_batch_size,
        CrossDataset(train=train, num_workers=2).num_workers,
    ) == (
        1,
        2,
    )


def test_members_are_judged_on_their_own_split() -> None:
    data = CrossDataset(
        val={"small": Scenes(val_size=3)},
        test={"one": Scenes(test_size=4), "two": Scenes(test_size=5, scene_seed=1)},
    )
    assert {name: len(source) for name, source in data.evaluation_sources("val").items()} == {"small": 3}
    assert {name: len(source) for name, source in data.evaluation_sources("test").items()} == {
        "one": 4,
        "two": 5,
    }
    assert data.training_source() is None


def test_a_member_that_cannot_be_judged(tmp_path: Path) -> None:
    image_caption_folder.write_images(tmp_path)
    data = CrossDataset(test={"own": ImageCaptionFolder(images=tmp_path)})
    with pytest.raises(DataError, match="own: ImageCaptionFolder has no test split to judge on"):
        data.evaluation_sources("test")
    with pytest.raises(DataError, match="ask for evaluation_sources"):
        data.evaluation_source("test")
