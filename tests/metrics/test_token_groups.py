from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from metrics.token_groups import (
    equal_pieces,
    find_openers,
    function_word_pieces,
    joined_by_place,
    k_means,
    mean_shift,
    of_words,
    one_group,
    opener_pieces,
    pieces_at,
    random_groups,
    singletons,
    span_groups,
    spectral,
)

rng = np.random.default_rng(0)
# Three clouds far apart, their points taking turns.
CLOUDS = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1, 2]] * 50 + rng.normal(size=(9, 3))
PARTITION = [0, 1, 2] * 3


def same_partition(first: list[int], second: list[int]) -> bool:
    return len(set(zip(first, second, strict=True))) == len(set(first)) == len(set(second))


def test_pieces() -> None:
    assert one_group(3) == [0, 0, 0]
    assert singletons(3) == [0, 1, 2]
    assert equal_pieces(8, 4) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert equal_pieces(2, 4) == [0, 2]
    assert pieces_at([False, True, False, True]) == [0, 1, 1, 2]
    assert of_words([5, 6], [0, 0, 1]) == [5, 5, 6]


@pytest.mark.parametrize("tokens", range(1, 25))
def test_equal_pieces_are_consecutive_and_differ_by_one_at_most(tokens: int) -> None:
    groups = equal_pieces(tokens, 4)
    assert groups == sorted(groups)
    sizes = Counter(groups).values()
    assert len(sizes) == min(4, tokens)
    assert max(sizes) - min(sizes) <= 1


def test_a_piece_begins_at_a_function_word_or_after_punctuation() -> None:
    words = ["A", "man", "In", "a", "red", "hat", ",", "smiling", ",", "is", "on", "a", "horse"]
    assert function_word_pieces(words) == [0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4]
    assert function_word_pieces(["on", "top"]) == [0, 0]


def test_openers_are_frequent_words_after_words_of_many_kinds() -> None:
    captions = [f"a {noun} in {noun} coats".split() for noun in ("man", "girl", "dog", "cat", "boy")]
    pairs = [pair for words in captions for pair in pairwise(words)]

    def score(word: str) -> float:
        """log n + H, by the definition."""
        before = Counter(first for first, second in pairs if second == word)
        shares = np.array(list(before.values())) / before.total()
        return float(np.log(before.total()) - (shares * np.log(shares)).sum())

    words = sorted({second for _, second in pairs}, key=lambda word: (-score(word), word))
    assert find_openers(captions, 3) == words[:3]
    assert words[:2] == [
        "coats",
        "in",
    ]  # both five times, after five kinds; "man" twice, after two; "a" only begins
    assert find_openers([["A", "dog", "IN", "a"], ["a", "cat", "in", "a"]], 9).count("in") == 1
    assert find_openers([], 5) == []


def test_a_piece_begins_at_an_opener_unless_after_another() -> None:
    words = ["A", "man", "in", "a", "hat", "is", "near", "the", "sea"]
    assert opener_pieces(words, ["in", "a", "is", "near", "the"]) == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert opener_pieces([], ["in"]) == []


def test_pieces_are_joined_where_their_middles_lie() -> None:
    assert joined_by_place([0, 0, 1, 1, 1, 2, 2, 3], 2) == [0, 0, 0, 0, 0, 1, 1, 1]
    assert joined_by_place([0, 1, 2, 3], 4) == [0, 1, 2, 3]
    assert joined_by_place([0, 0, 0], 4) == [2, 2, 2]


def test_spans_are_groups_and_so_is_what_lies_between() -> None:
    assert same_partition(span_groups(7, [(0, 2), (3, 5)]), [0, 0, 1, 2, 2, 3, 3])


def test_random_groups_use_all_groups_alike() -> None:
    counts = Counter(random_groups(4000, 4, np.random.default_rng(0)))
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(900 < count < 1100 for count in counts.values())


def test_clusters_of_clouds() -> None:
    assert same_partition(k_means(CLOUDS, 3), PARTITION)
    assert same_partition(spectral(CLOUDS, 3), PARTITION)
    shifted = mean_shift(np.concatenate([CLOUDS, CLOUDS + 0.1]))
    assert (
        len(set(zip(shifted, PARTITION * 2, strict=True))) == len(set(shifted)) < 18
    )  # none spans two clouds, some hold several tokens


@pytest.mark.parametrize("cluster", [k_means, spectral])
def test_short_captions_are_singletons(cluster: object) -> None:
    assert cluster(CLOUDS[:3], 4) == [0, 1, 2]  # type: ignore[operator]


def test_mean_shift_of_equal_vectors_is_singletons() -> None:
    assert mean_shift(np.zeros((3, 2))) == [0, 1, 2]
    assert mean_shift(np.ones((1, 2))) == [0]
