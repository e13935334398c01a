from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.token_iou import NAMES, TokenIoU, token_scores, tokens_of_spans, words_from_tokens
from tests.parity import assert_near_exact

CASES = json.loads((Path(__file__).parents[1] / "data" / "groupvit" / "tiou_cases.json").read_text())


def by_enumeration(groups: list[int], phrases: list[list[int]]) -> list[float]:
    """The definition in sets, every matching tried."""
    annotated = set().union(*map(set, phrases))
    of_group = [
        {token for token, group in enumerate(groups) if group == name} for name in sorted(set(groups))
    ]

    def iou(group: set[int], phrase: set[int]) -> float:
        return len(group & phrase) / len((group & annotated) | phrase)

    gold = [set(phrase) for phrase in phrases]
    few, many, swap = (of_group, gold, False) if len(of_group) <= len(gold) else (gold, of_group, True)
    matchings = [
        [(b, a) if swap else (a, b) for a, b in zip(few, chosen, strict=True)]
        for chosen in itertools.permutations(many, len(few))
    ]
    pairs = max(matchings, key=lambda matching: sum(itertools.starmap(iou, matching)))
    scores = []
    for group, phrase in pairs:
        both = len(group & phrase)
        held = len(group & annotated)
        precision = both / held if held else 0.0
        recall = both / len(phrase)
        scores.append(
            [
                iou(group, phrase),
                precision,
                recall,
                2 * precision * recall / (precision + recall) if both else 0.0,
            ]
        )
    return np.mean(scores, axis=0).tolist()


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_parity_with_brute_force_numbers(case: dict) -> None:
    found = token_scores([case["assign"]], [case["golds"]])[0]
    assert_near_exact(found, [case["tiou"], case["p"], case["r"], case["f1"]])


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = int(rng.integers(3, 14))
    groups = rng.integers(0, rng.integers(1, 6), size=tokens).tolist()
    edges = sorted(
        rng.choice(tokens + 1, size=min(tokens + 1, 2 * int(rng.integers(1, 4))), replace=False).tolist()
    )
    phrases = [list(range(start, end)) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    assert token_scores([groups], [phrases])[0, 0] == pytest.approx(
        by_enumeration(groups, phrases)[0]
    )  # ties may be matched otherwise


def test_one_group_scores_the_largest_share() -> None:
    assert token_scores([[7] * 9], [[range(3), range(4, 6), [7, 8]]])[0].tolist() == pytest.approx(
        [3 / 7, 3 / 7, 1, 0.6]
    )


def test_a_perfect_grouping_scores_one_whatever_the_rest_does() -> None:
    assert token_scores([[0, 0, 5, 1, 1, 5]], [[[0, 1], [3, 4]]])[0].tolist() == [1, 1, 1, 1]


def test_groups_without_tokens_do_not_count() -> None:
    assert token_scores([[0, 0, 0, 0]], [[[0, 1], [2, 3]]])[0, 0] == 0.5


def test_captions_without_a_phrase_are_left_out() -> None:
    assert token_scores([[0, 1], [0, 0]], [[], [[0]]]).shape == (1, 4)
    assert token_scores([], []).shape == (0, 4)


@pytest.mark.parametrize(
    ("groups", "phrases"), [([[0, 1]], [[[2]]]), ([[0, 1]], [[[]]]), ([[0, 1]], []), ([[0]], [[[-1]]])]
)
def test_what_does_not_fit_is_refused(groups: list, phrases: list) -> None:
    with pytest.raises(ValueError, match="phrase"):
        token_scores(groups, phrases)


def test_spans_of_words_become_tokens_and_a_cut_one_is_dropped() -> None:
    assert tokens_of_spans([0, 1, 1, 2], [(1, 3), (0, 1), (3, 5)]) == [[1, 2, 3], [0]]
    assert words_from_tokens([4, 2, 3, 3], [0, 2, 2, 3]) == ([4, 2, 3], [0, 2, 3])


# "a skateboarder" in pieces: the second word is split, and its two pieces are in different groups.
SPLIT = ([0, 0, 1, 1], [0, 1, 1, 2])


def test_levels_differ_where_a_word_is_split() -> None:
    values = {}
    for level in ("subword", "word"):
        metric = TokenIoU(level)
        metric.update([SPLIT], [[(0, 2), (2, 3)]])
        values[level] = metric.compute()["tiou"].value
    assert values == pytest.approx({"subword": (2 / 3 + 1 / 2) / 2, "word": 1.0})


def test_sums_do_not_depend_on_the_batches() -> None:
    rng = np.random.default_rng(0)
    grouped = [(rng.integers(3, size=8).tolist(), list(range(8))) for _ in range(20)]
    spans = [[(0, 3), (4, 7)]] * 20
    whole = TokenIoU("word")
    parts = TokenIoU("word")
    whole.update(grouped, spans)
    for start in range(0, 20, 7):
        parts.update(grouped[start : start + 7], spans[start : start + 7])
    assert whole.compute() == parts.compute()
    found = whole.compute()
    scores = token_scores([groups for groups, _ in grouped], [[range(0, 3), range(4, 7)]] * 20)
    assert [found[name].value for name in NAMES] == pytest.approx(scores.mean(axis=0), abs=1e-8)
    assert found["tiou"].high - found["tiou"].value == pytest.approx(
        1.96 * scores[:, 0].std(ddof=1) / 20**0.5, rel=1e-3
    )
    assert found["tiou"].n == 20


def test_nothing_judged_is_nan_and_levels_are_checked() -> None:
    metric = TokenIoU()
    metric.update([([], [])], [[]])
    assert metric.compute()["tiou"].n == 0
    assert torch.tensor(metric.compute()["f1"].value).isnan()
    with pytest.raises(ValueError, match="subword or word"):
        TokenIoU("letter")  # type: ignore[arg-type]
