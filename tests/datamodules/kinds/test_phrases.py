"""Algorithm 1 of HIST as stated: partners have another subject, and every such pair can be drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from datamodules.batches import Phrase
from datamodules.kinds.phrases import draw_pair, partners_of


def phrase(text: str, subject: str, caption: int = 0) -> Phrase:
    return Phrase(text, subject, 0, len(text.split()), caption)


POOL = [
    phrase("a red dog", "dog"),
    phrase("the dog", "dog", 1),
    phrase("a cat", "cat"),
    phrase("green grass", "grass", 2),
]


def test_partners_have_another_subject() -> None:
    assert [partners_of(POOL, i) for i in range(4)] == [[2, 3], [2, 3], [0, 1, 3], [0, 1, 2]]


def test_every_pair_is_drawn_as_often_as_the_algorithm_says() -> None:
    rng = np.random.default_rng(0)
    draws = 24_000
    found = Counter(
        (first.text, second.text if second else None)
        for first, second in (draw_pair(POOL, rng) for _ in range(draws))
    )
    expected = {
        (POOL[i].text, POOL[j].text): 1 / 4 / len(partners_of(POOL, i))
        for i in range(4)
        for j in partners_of(POOL, i)
    }
    assert set(found) == set(expected)
    for pair, share in expected.items():
        assert found[pair] / draws == pytest.approx(
            share, abs=5 * np.sqrt(share / draws)
        )  # five standard errors


@pytest.mark.parametrize("pool", [POOL[:1], POOL[:2]])
def test_without_another_subject_there_is_no_partner(pool: list[Phrase]) -> None:
    rng = np.random.default_rng(1)
    found = [draw_pair(pool, rng) for _ in range(50)]
    assert {second for _, second in found} == {None}
    assert {first.text for first, _ in found} == {one.text for one in pool}


def test_the_generator_alone_decides() -> None:
    first, second = ([draw_pair(POOL, np.random.default_rng([5, n])) for n in range(30)] for _ in range(2))
    assert first == second
