"""What training and evaluation see of a source, unreadable records included."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.batches import Phrase
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionView
from datamodules.kinds.grounding import GroundingView, Query, collate_queries
from datamodules.kinds.phrases import PhraseView, collate_phrases
from datamodules.kinds.training import Augmentation
from datamodules.samplers import EpochSampler
from datamodules.sets.scenes import SceneSource
from tests.datamodules.feeding import PLAIN, ListSource

NONE = Augmentation()
STRONG = Augmentation(crop_scale=(0.3, 1.0), flip=0.5, jitter=0.4)


def same(first: tuple, second: tuple) -> bool:
    return torch.equal(first[0], second[0]) and first[1:] == second[1:]


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    source = SceneSource(0, "train", 6, 32)
    view = PhraseView(source, PLAIN, STRONG, 3)
    forwards = [view[2, index] for index in range(6)]
    backwards = [PhraseView(source, PLAIN, STRONG, 3)[2, index] for index in reversed(range(6))][::-1]
    assert all(map(same, forwards, backwards))
    assert not any(map(same, forwards, [view[3, index] for index in range(6)]))
    assert not any(
        map(same, forwards, [PhraseView(source, PLAIN, STRONG, 4)[2, index] for index in range(6)])
    )


def test_workers_change_nothing() -> None:
    found = []
    for workers in (0, 2):
        view = PhraseView(SceneSource(0, "train", 9, 32), PLAIN, STRONG, 0)
        loader = DataLoader(
            view,
            2,
            sampler=EpochSampler(9, 2, 0),
            collate_fn=collate_phrases,
            num_workers=workers,
            drop_last=True,
        )
        found.append(list(loader))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first.images, second.images)
        assert (first.keys, first.phrases, first.subjects, first.partners) == (
            second.keys,
            second.phrases,
            second.subjects,
            second.partners,
        )


def test_each_caption_is_equally_likely() -> None:
    view = CaptionView(ListSource([["a", "b", "c", "d"]]), PLAIN, NONE, 0)
    found = Counter(view[epoch, 0][1] for epoch in range(2000))
    assert set(found) == {"a", "b", "c", "d"}
    assert min(found.values()) > 400


def test_an_unreadable_image_gives_way_to_the_next() -> None:
    view = CaptionView(ListSource([["a"], ["b"], ["c"], ["d"]], unreadable={1, 2}), PLAIN, NONE, 0)
    image, caption, key, skipped = view[0, 1]
    assert (caption, key) == ("d", "image-3")
    assert set(image.flatten().tolist()) == {3}
    assert skipped == ["image-1\timage-1.jpg: torn", "image-2\timage-2.jpg: torn"]
    assert view[0, 0][3] == []


def test_the_last_image_gives_way_to_the_first() -> None:
    view = CaptionView(ListSource([["a"], ["b"]], unreadable={1}), PLAIN, NONE, 0)
    assert view[0, 1][1:3] == ("a", "image-0")


def test_no_readable_image_at_all() -> None:
    view = CaptionView(ListSource([["a"], ["b"]], unreadable={0, 1}), PLAIN, NONE, 0)
    with pytest.raises(DataError, match="no image of 2 gives a training sample; the last reason: image-1"):
        view[0, 0]


def phrases(*subjects: str) -> list[Phrase]:
    return [Phrase(f"the {subject}", subject, 0, 2) for subject in subjects]


def test_an_image_without_phrases_is_passed_over_and_named() -> None:
    view = PhraseView(ListSource([["x"]] * 3, [[], [], phrases("dog")]), PLAIN, NONE, 0)
    _, phrase, subject, partner, mentioned, key, skipped = view[0, 0]
    assert (phrase, subject, partner, mentioned, key, skipped) == (
        "the dog",
        "dog",
        None,
        {"the dog", "dog"},
        "image-2",
        [f"image-{n}\tleft out: no phrase in its captions" for n in range(2)],
    )
    with pytest.raises(DataError, match="no phrase in its captions"):
        PhraseView(ListSource([["x"]] * 3, [[], [], []]), PLAIN, NONE, 0)[0, 0]


def test_phrases_of_all_captions_form_one_pool() -> None:
    asked: list[Any] = []

    def lookup(captions: Any) -> list[list[Phrase]]:
        asked.append(captions)
        return [phrases("dog"), [], phrases("cat")]

    view = PhraseView(ListSource([["one", "two", "three"]]), PLAIN, NONE, 0, find_phrases=lookup)
    found = {view[epoch, 0][1:4] for epoch in range(40)}
    assert found == {("the dog", "dog", "the cat"), ("the cat", "cat", "the dog")}
    assert asked[0] == ["one", "two", "three"]


def test_evaluation_leaves_out_what_it_cannot_read() -> None:
    source = ListSource([["a", " "], ["b"], ["c"]], unreadable={1})
    samples = [GroundingView(source, PLAIN)[index] for index in range(3)]
    batch = collate_queries(samples)
    assert batch.keys == ["0/0", "2/0"]
    assert batch.images[:, 0, 0, 0].tolist() == [0, 2]
    assert batch.sizes.tolist() == [[6, 9], [6, 9]]
    assert batch.skipped == ["0/1\t' ': the phrase is empty", "1/0\timage-1.jpg: torn"]


def test_evaluation_is_not_augmented_or_shuffled() -> None:
    view: Any = GroundingView(SceneSource(0, "test", 3, 32), PLAIN)
    for index in range(3):
        first = view[index]
        second = view[index]
        assert torch.equal(first[0][0], second[0][0])


BOXES = {
    "inverted": ([[5, 0, 2, 3]], "empty or inverted"),
    "flat": ([[5, 3, 7, 3]], "empty or inverted"),
    "nan": ([[0, 0, np.nan, 3]], "not finite"),
    "infinite": ([[0, 0, np.inf, 3]], "not finite"),
    "right of the image": ([[9, 0, 12, 3]], "outside the image of 9x6"),
    "above the image": ([[0, -3, 4, 0]], "outside"),
    "one of two": ([[0, 0, 3, 3], [0, 6, 3, 8]], "outside"),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_that_cannot_be_judged(name: str) -> None:
    boxes, fault = BOXES[name]
    found = Query("a dog", np.asarray(boxes, np.float32), "0", "0").fault(height=6, width=9)
    assert found is not None
    assert fault in found


def test_a_query_without_a_box_can_be_asked() -> None:
    assert Query("a dog", np.zeros((0, 4), np.float32), "0", "0").fault(height=6, width=9) is None


@pytest.mark.parametrize("box", [[0, 0, 9, 6], [-5, -5, 1, 1], [8, 5, 100, 100], [0.2, 0.2, 0.4, 0.4]])
def test_a_box_that_sticks_out_can_be_judged(box: list[float]) -> None:
    assert Query("a dog", np.array([box], np.float32), "0", "0").fault(height=6, width=9) is None


def test_a_source_crosses_a_process() -> None:
    source = pickle.loads(pickle.dumps(SceneSource(0, "test", 4, 32)))
    assert np.array_equal(source.image(2), SceneSource(0, "test", 4, 32).image(2))
