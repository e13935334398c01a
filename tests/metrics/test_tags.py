from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from metrics.tags import TagSelection, average_precision


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_is_that_of_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 12))
    scores = rng.integers(0, 6, size) / 6  # with equal scores
    positives = rng.random(size) < 0.4
    positives[rng.integers(size)] = True
    ours = average_precision(torch.from_numpy(scores), torch.from_numpy(positives))
    assert ours == pytest.approx(average_precision_score(positives, scores), abs=1e-12)


def test_nothing_to_find_has_no_average_precision() -> None:
    assert math.isnan(average_precision(torch.rand(3), torch.zeros(3, dtype=torch.bool)))


def captions(count: int = 30) -> list[tuple[torch.Tensor, torch.Tensor, list[bool]]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        size = int(rng.integers(1, 9))
        scores = torch.from_numpy(rng.random(size))
        scores[rng.random(size) < 0.2] = -torch.inf  # no candidates
        made.append((scores, scores > 0.5, (rng.random(size) < 0.3).tolist()))
    return made


def test_counts_are_over_all_words_and_average_precision_over_captions() -> None:
    metric = TagSelection()
    for caption in captions():
        metric.update(*caption)
    values = metric.compute()
    selected = torch.cat([selected for _, selected, _ in captions()]).numpy()
    truth = np.concatenate([tags for _, _, tags in captions()])
    expected = precision_recall_fscore_support(truth, selected, average="binary")
    assert [values[name].value for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    assert values["accuracy"].value == pytest.approx((truth == selected).mean())
    assert values["f1"].n == values["accuracy"].n == len(truth)
    precisions = [
        average_precision_score(tags, scores.clamp(min=-9)) for scores, _, tags in captions() if any(tags)
    ]
    assert values["map"].n == len(precisions)
    assert values["map"].value == pytest.approx(np.mean(precisions), abs=1e-8)


def test_the_order_does_not_matter() -> None:
    forwards = TagSelection()
    backwards = TagSelection()
    for caption in captions():
        forwards.update(*caption)
    for caption in reversed(captions()):
        backwards.update(*caption)
    # F1's interval is nan, and so is not equal to itself.
    for name, estimate in forwards.compute().items():
        assert backwards.compute()[name].value == estimate.value


def test_words_of_which_nothing_is_known_do_not_count() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    metric = TagSelection()
    metric.update(scores, scores > 0.65, [False, True, False, True], [False, True, True, True])
    values = {name: estimate.value for name, estimate in metric.compute().items()}
    assert values["precision"] == values["recall"] == 1 / 2
    assert values["accuracy"] == pytest.approx(1 / 3)
    assert values["map"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 scores and 2 decisions for a caption of 3"):
        TagSelection().update(torch.zeros(2), torch.zeros(2, dtype=torch.bool), [True, False, True])
    with pytest.raises(ValueError, match="NaN"):
        TagSelection().update(torch.tensor([math.nan]), torch.tensor([True]), [True])
    assert math.isnan(TagSelection().compute()["f1"].value)
