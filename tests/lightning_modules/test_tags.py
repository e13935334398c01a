from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lightning_modules.tags import (
    STOP_WORDS,
    Vectors,
    candidates,
    select_by_largest_gap,
    tag_scores,
)
from tests.networks.ttd_parity import FOLDER, numbers

CASES = json.loads((FOLDER / "largest_gap_cases.json").read_text())


def test_the_list_is_that_of_nltk() -> None:
    assert len(STOP_WORDS) == 179
    assert {"a", "the", "with", "wouldn't"} <= STOP_WORDS


@pytest.mark.parametrize("caption", ["", ", .", "the"])
def test_captions_with_little_in_them(caption: str) -> None:
    words = caption.split()
    chosen = candidates(words)
    assert len(chosen.text_of_word) == len(words)
    assert chosen.texts == [word for word in words if word.isalnum()]


def test_repeated_words_are_scored_once() -> None:
    texts, text_of_word = candidates(["Cats", "and", "cats", "on", "a", "mat", "."])
    assert texts == ["cats", "mat"]
    assert text_of_word == [0, -1, 0, -1, -1, 1, -1]
    assert candidates(["(cats)", "mat."]).texts == ["cats", "mat"]


@pytest.mark.parametrize("case", CASES)
def test_the_largest_gap_of_the_reference_cases(case: dict) -> None:
    assert (
        select_by_largest_gap(torch.tensor(case["scores"], dtype=torch.float64)).tolist() == case["selected"]
    )


def test_no_score_selects_nothing() -> None:
    assert select_by_largest_gap(torch.zeros(0)).tolist() == []


def test_scores_by_image_and_text_are_those_of_the_reference() -> None:
    reference = numbers("ttd_losses")
    pixels = reference["feat"].flatten(1).T
    vectors = Vectors(pixels, F.normalize(reference["text"], dim=0), F.normalize(reference["tags"], dim=1))
    assert_close(tag_scores(vectors, "image"), reference["score_image"])
    assert_close(tag_scores(vectors, "text"), reference["score_text"])


def test_pixel_scores_and_shares() -> None:
    pixels = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    vectors = Vectors(pixels, pixels[0], torch.tensor([[0.6, 0.8], [0.8, 0.6]]))
    assert_close(tag_scores(vectors, "pixel"), torch.tensor([0.8, 0.8]))
    assert tag_scores(vectors, "segment").tolist() == [0.75, 0.25]
