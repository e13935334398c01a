from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.batches import ImageTextBatch
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.handover import Needs
from datamodules.sets.caption_vectors import CaptionList, CaptionVectors, ImageVectors
from tests.datamodules.feeding import PLAIN, attach, batches
from tests.fakes.base import Fake
from tests.fakes.caption_vectors import WIDTH, vector, write


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return write(tmp_path / "data")


def attached(fake: Fake, folder: Path, **changes: Any) -> Any:
    options: dict[str, Any] = (
        {"batch_size": 2, "num_workers": 0, "max_skipped": 1.0, "seed": 0} | fake.arguments | changes
    )
    return attach(CaptionVectors(**options), folder, stage="fit", preprocessing=replace(PLAIN, image_size=1))


def test_every_caption_comes_with_its_images_vector(fake: Fake, tmp_path: Path) -> None:
    data = attached(fake, tmp_path)
    data.setup("fit")
    loader = data.train_dataloader()
    seen: dict[str, set[str]] = {}
    for epoch in range(40):
        loader.sampler.set_epoch(epoch)
        for batch in batches(data, loader):
            assert batch.images.shape == (2, WIDTH)
            assert batch.images.dtype == torch.float32
            for key, caption, image in zip(batch.keys, batch.captions, batch.images, strict=True):
                assert image.tolist() == vector(key).astype(np.float32).tolist()
                seen.setdefault(key, set()).add(caption)
    assert seen == {key: set(captions) for key, captions in fake.captions.items()}
    lines = (tmp_path / "skipped-train-rank0.tsv").read_text().splitlines()
    assert {line.split("\t")[0] for line in lines} == fake.skipped["train"]


def test_without_vectors_each_caption_is_a_sample(fake: Fake, tmp_path: Path) -> None:
    data = attached(fake, tmp_path, vectors=None, batch_size=5)
    data.setup("fit")
    fed = batches(data, data.train_dataloader())
    captions = [caption for batch in fed for caption in batch.captions]
    expected = [caption for texts in fake.captions.values() for caption in texts] + ["no vector for this one"]
    assert sorted(captions) == sorted(expected)
    assert all(batch.images.shape == (5, 0) for batch in fed)


def test_a_folder_of_photographs_says_which_captions_count(fake: Fake, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in ("101.jpg", "105.jpg"):
        (photographs / name).touch()
    assert CaptionList([fake.arguments["captions"]], fake.arguments["vectors"], photographs).names == ["101"]
    assert len(CaptionList([fake.arguments["captions"]], None, photographs)) == 4


def test_names_are_found_with_and_without_what_is_around_them(fake: Fake) -> None:
    vectors = ImageVectors(fake.arguments["vectors"])
    for name, row in (
        ("100", 0),
        ("100_ab12", 0),
        ("101.png", 1),
        ("x/102.jpg", 2),
        ("104", 4),
        ("106", None),
    ):
        assert vectors.find(name) == row
    assert ImageVectors(fake.arguments["vectors"] / "part-1.npz").width == WIDTH


def test_what_a_user_can_get_wrong(fake: Fake, tmp_path: Path) -> None:
    captions = fake.arguments["captions"]
    with pytest.raises(DatasetNotFoundError, match=r"none\.npz not found"):
        CaptionList([captions], tmp_path / "none.npz")
    with pytest.raises(DatasetNotFoundError, match="not found"):
        CaptionList([tmp_path / "none.jsonl"])
    with pytest.raises(DatasetNotFoundError, match=r"Set --data\.images"):
        CaptionList([captions], None, tmp_path / "nowhere")
    (tmp_path / "torn.npz").write_text("torn")
    np.savez(tmp_path / "other.npz", names=["1", "2"], feats=np.zeros((3, 2)))
    np.savez(tmp_path / "strangers.npz", names=["1"], feats=np.zeros((1, 2)))
    for name, reason in (
        ("torn", "not readable"),
        ("other", "2 names do not fit"),
        ("strangers", "no caption is left"),
    ):
        with pytest.raises(DataError, match=reason):
            CaptionList([captions], tmp_path / f"{name}.npz")
    np.savez(fake.arguments["vectors"] / "part-2.npz", names=["9"], feats=np.zeros((1, 3)))
    with pytest.raises(DataError, match="different widths"):
        ImageVectors(fake.arguments["vectors"])


def test_a_model_of_images_is_told_so(fake: Fake, tmp_path: Path) -> None:
    data = attached(fake, tmp_path)
    data.serve(Needs(ImageTextBatch, PLAIN, "Model"))
    with pytest.raises(DataError, match=r"leave out --model\.image_encoder"):
        data.train_dataloader()
