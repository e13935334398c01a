"""Every kind of source becomes its kind of batch; what cannot be read is left out and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from datamodules.batches import Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.base import ImageSource, Source
from datamodules.kinds.catalogue import JUDGED_KINDS, kind_of, view_of
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.kinds.labels import LabelSource
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.kinds.questions import Question, QuestionSource
from datamodules.kinds.retrieval import RetrievalSource
from datamodules.kinds.segmentation import SegmentationSource
from datamodules.kinds.spans import SpanSource
from datamodules.kinds.tags import TagSource

PLAIN = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Pictures(ImageSource):
    """Four images of 6x8, of which number 2 cannot be read; each is as bright as its number."""

    def __len__(self) -> int:
        return 4

    def key(self, index: int) -> str:
        return f"k{index}"

    def image(self, index: int) -> np.ndarray:
        if index == 2:
            raise DataError("torn")
        return np.full((6, 8, 3), index, np.uint8)


class Queries(Pictures, GroundingSource):
    def queries(self, index: int) -> list[Query]:
        return [Query("a dog", np.array([[0, 0, 3, 3]], np.float32), f"{index}/0", "1")]


class Spans(Pictures, SpanSource):
    def words(self, index: int) -> list[str]:
        return ["a", "dog", "runs"]

    def spans(self, index: int) -> list[tuple[int, int]]:
        return [(0, 4 if index == 2 else 2)]


class Labels(Pictures, SegmentationSource):
    class_names = ("background", "dog")

    def labels(self, index: int) -> np.ndarray:
        return np.full((6, 8), index % 2, np.uint8)


class Tags(Pictures, TagSource):
    def words(self, index: int) -> list[str]:
        return ["a", "dog"]

    def tags(self, index: int) -> list[bool]:
        return [False, True]

    def masks(self, index: int) -> np.ndarray | None:
        return np.ones((1, 6, 8), bool)


class Classes(Pictures, LabelSource):
    class_names = ("cat", "dog")

    def labels(self, index: int) -> np.ndarray:
        return np.array([index == 0, True])


class Ranked(Pictures, PairRankSource):
    """One text, two images; the images of a batch repeat."""

    def pair(self, index: int) -> RankedPair:
        return RankedPair((str(index), "a dog runs"), ("3", "a dog runs"), "verb")

    def image_named(self, name: str) -> np.ndarray:
        return self.image(int(name))


class Captions(Pictures, RetrievalSource):
    def captions(self, index: int) -> list[str]:
        return ["a dog", "it runs"]


class Questions(Pictures, QuestionSource):
    def questions(self, index: int) -> list[Question]:
        return [Question("what?", {"dog": 1.0}, f"{index}/a"), Question("who?", {"cat": 0.3}, f"{index}/b")]


SOURCES: list[Source] = [
    Queries(),
    Spans(),
    Labels(),
    Tags(),
    Classes(),
    Ranked(),
    Captions(),
    Questions(),
]


def batch_of(source: Source, indices: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    view, collate = view_of(source, PLAIN)
    return collate([view[index] for index in indices])


def test_every_kind_is_tried() -> None:
    assert {kind_of(source) for source in SOURCES} == set(JUDGED_KINDS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
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


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_a_batch_without_a_readable_record_is_empty(source: Source) -> None:
    batch = batch_of(source, (2, 2))
    assert len(batch) == 0
    assert len(batch.skipped) == 2 * len(source.sample_keys(2))


def test_pairs_share_images_and_texts() -> None:
    batch = batch_of(SOURCES[5])
    assert batch.texts == ["a dog runs"]
    assert len(batch.images) == 3
    assert batch.images[batch.positive[:, 0], 0, 0, 0].tolist() == [0, 1, 3]
    assert batch.images[batch.negative[:, 0], 0, 0, 0].tolist() == [3, 3, 3]


def test_questions_know_their_image() -> None:
    batch = batch_of(SOURCES[7])
    assert batch.image_of_question.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.answers[1] == {"cat": 0.3}


def test_labels_of_another_size_than_the_image_are_refused() -> None:
    class Wrong(Labels):
        def labels(self, index: int) -> np.ndarray:
            return np.zeros((3, 8), np.uint8)

    assert batch_of(Wrong(), (0,)).skipped == ["k0\tthe labels are 8x3, the image is 8x6"]


def test_labels_and_masks_keep_the_original_size() -> None:
    segmentation, tags = batch_of(SOURCES[2], (1,)), batch_of(SOURCES[3], (1,))
    assert torch.equal(segmentation.labels[0], torch.ones(6, 8, dtype=torch.uint8))
    assert tags.masks[0].shape == (1, 6, 8)
