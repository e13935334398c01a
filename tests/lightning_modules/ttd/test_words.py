from __future__ import annotations

import pytest

from lightning_modules.ttd.words import STOP_WORDS, candidates


def test_the_list_is_that_of_nltk() -> None:
    assert len(STOP_WORDS) == 179
    assert {"a", "the", "with", "wouldn't"} <= STOP_WORDS


@pytest.mark.parametrize("caption", ["", ", .", "the"])
def test_captions_with_little_in_them(caption: str) -> None:
    words = caption.split()
    found = candidates(words)
    assert len(found.text_of_word) == len(words)
    assert found.texts == [word for word in words if word.isalnum()]


def test_repeated_words_are_scored_once() -> None:
    texts, text_of_word = candidates(["Cats", "and", "cats", "on", "a", "mat", "."])
    assert texts == ["cats", "mat"]
    assert text_of_word == [0, -1, 0, -1, -1, 1, -1]
