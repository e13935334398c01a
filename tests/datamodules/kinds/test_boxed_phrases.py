"""What a supervised method learns from: a phrase, and the pixels in its boxes, wherever they have gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.batches import BoxedPhraseBatch, Preprocessing, RandomWindow
from datamodules.errors import DataError
from datamodules.kinds.boxed_phrases import (
    BoxedPhraseView,
    BoxedSource,
    collate_boxed_phrases,
    region_of,
)
from datamodules.kinds.catalogue import training_kind
from datamodules.kinds.grounding import Query
from datamodules.kinds.training import Augmentation
from datamodules.sets.scenes import SceneSource
from datamodules.sets.visual_genome import VisualGenomeSplit
from tests.datamodules.feeding import PLAIN
from tests.fakes.visual_genome import write

KEEP = Augmentation()
HEIGHT = 40
WIDTH = 60


class Lit(BoxedSource):
    """Images that are white in their boxes and black elsewhere, with one phrase each."""

    def __init__(self, boxes: list[list[list[float]]]) -> None:
        self.boxes = [np.array(box, np.float32).reshape(-1, 4) for box in boxes]

    def __len__(self) -> int:
        return len(self.boxes)

    def key(self, index: int) -> str:
        return str(index)

    def image(self, index: int) -> np.ndarray:
        return region_of(self.queries(index)[0], HEIGHT, WIDTH)

    def queries(self, index: int) -> list[Query]:
        return [Query("a lit window", self.boxes[index], f"{index}/0", "0")]


LIT = Lit([[[10, 5, 30, 20]], [[0, 0, 8, 8], [40, 20, 60, 40]], []])


def test_a_region_holds_every_pixel_that_a_box_touches() -> None:
    query = Query("a dog", np.array([[-3.0, 0.5, 1.2, 2.0], [3.0, 3.0, 9.0, 9.0]]), "0", "0")
    inside = region_of(query, 4, 5)[..., 0] > 0
    assert inside.tolist() == [
        [True, True, False, False, False],
        [True, True, False, False, False],
        [False, False, False, False, False],
        [False, False, False, True, True],
    ]


@pytest.mark.parametrize("window", [None, RandomWindow((24, 40), 20)])
@pytest.mark.parametrize("index", [0, 1])
def test_a_region_goes_where_its_pixels_go(index: int, window: RandomWindow | None) -> None:
    preprocessing = Preprocessing(32, (0.0,) * 3, (1.0,) * 3, interpolation="bilinear", training=window)
    view = BoxedPhraseView(LIT, preprocessing, Augmentation((0.3, 1.0), 0.5, 0.1), 0)
    for epoch in range(20):
        batch = collate_boxed_phrases([view[epoch, index]])
        brightness = batch.images[0].float().mean(dim=0)  # of edges it says nothing, being recoloured
        assert batch.regions[0][brightness > 170].all()
        assert not batch.regions[0][brightness < 80].any()


def test_a_batch() -> None:
    source = SceneSource(0, "train", 4, 32)
    assert training_kind(source, BoxedPhraseBatch).view is BoxedPhraseView  # type: ignore[union-attr]
    view = BoxedPhraseView(source, PLAIN, KEEP, 0)
    batch = collate_boxed_phrases([view[0, index] for index in range(4)])
    assert batch.images.shape == (4, 3, 8, 8)
    assert (batch.regions.shape, batch.regions.dtype) == ((4, 8, 8), torch.bool)
    for index, phrase in enumerate(batch.phrases):
        texts = {query.phrase for query in source.queries(index)}
        assert phrase in texts
        assert texts <= batch.mentioned[index]
        assert phrase.rsplit(maxsplit=1)[-1] in batch.mentioned[index]


def test_each_phrase_is_drawn() -> None:
    source = SceneSource(0, "train", 1, 32)
    view = BoxedPhraseView(source, PLAIN, KEEP, 0)
    assert {view[epoch, 0][1] for epoch in range(100)} == {query.phrase for query in source.queries(0)}


def test_an_image_without_a_box_is_passed_over_and_named() -> None:
    view = BoxedPhraseView(LIT, PLAIN, KEEP, 0)
    *_, key, skipped = view[0, 2]
    assert (key, skipped) == ("0", ["2\tleft out: no phrase with a box"])


def test_boxes_for_an_image_of_another_size_are_not_learnt_from(tmp_path: Path) -> None:
    write(tmp_path)
    source = VisualGenomeSplit(tmp_path, "densecap", "train")
    (other,) = [index for index in range(len(source)) if source.key(index) == "40"]
    assert source.image(other).ndim == 3
    with pytest.raises(DataError, match="but its annotations are for"):
        source.boxed_image(other)
