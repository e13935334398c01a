"""Every kind of source becomes its kind of batch; what cannot be read is left out and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from datamodules.batches import Preprocessing
from datamodules.kinds.base import Kind, Source
from datamodules.kinds.catalogue import JUDGED_KINDS, kind_of
from datamodules.kinds.pairs import PairRankSource
from tests.datamodules.kinds.examples import example_of, pairs, questions, segmentation, tags

PLAIN = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


SOURCES = [example_of(kind) for kind in JUDGED_KINDS]


def batch_of(source: Source, indices: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    kind = kind_of(source)
    view = kind.view(source, PLAIN)
    return kind.collate([view[index] for index in indices])


@pytest.mark.parametrize("kind", JUDGED_KINDS, ids=lambda kind: kind.source.__name__)
def test_the_kind_of_an_example_is_its_own(kind: Kind) -> None:
    assert kind_of(example_of(kind)) is kind


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__module__.rsplit(".", 1)[-1])
def test_a_torn_record_is_left_out_and_named(source: Source) -> None:
    batch = batch_of(source)
    assert type(batch) is kind_of(source).batch
    assert [line.split("\t")[0] for line in batch.skipped] == source.sample_keys(2)
    assert not [key for key in batch.keys if key.startswith(("k2", "2"))]
    if hasattr(batch, "images"):
        assert (
            batch.images[:, 0, 0, 0].tolist() == [0, 1, 3]
            if not isinstance(source, PairRankSource)
            else [0, 3, 1]
        )


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__module__.rsplit(".", 1)[-1])
def test_a_batch_without_a_readable_record_is_empty(source: Source) -> None:
    batch = batch_of(source, (2, 2))
    assert len(batch) == 0
    assert len(batch.skipped) == 2 * len(source.sample_keys(2))


def test_pairs_share_images_and_texts() -> None:
    batch = batch_of(pairs.Example())
    assert batch.texts == ["a dog runs"]
    assert len(batch.images) == 3
    assert batch.images[batch.positive[:, 0], 0, 0, 0].tolist() == [0, 1, 3]
    assert batch.images[batch.negative[:, 0], 0, 0, 0].tolist() == [3, 3, 3]


def test_questions_know_their_image() -> None:
    batch = batch_of(questions.Example())
    assert batch.image_of_question.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.answers[1] == {"cat": 0.3}


def test_labels_of_another_size_than_the_image_are_refused() -> None:
    class Wrong(segmentation.Example):
        def labels(self, index: int) -> np.ndarray:
            return np.zeros((3, 8), np.uint8)

    assert batch_of(Wrong(), (0,)).skipped == ["k0\tthe labels are 8x3, the image is 8x6"]


def test_labels_and_masks_keep_the_original_size() -> None:
    labelled = batch_of(segmentation.Example(), (1,))
    tagged = batch_of(tags.Example(), (1,))
    assert torch.equal(labelled.labels[0], torch.ones(6, 8, dtype=torch.uint8))
    assert tagged.masks[0].shape == (1, 6, 8)
