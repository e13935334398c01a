"""The losses of text group discovery, each against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lightning_modules.text_group.losses import (
    balance_loss,
    contrastive_loss,
    target_weights,
    vocabulary_cross_entropy,
)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunked_cross_entropy_is_the_plain_one(chunk: int) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(11, 5, requires_grad=True)
    embedding = torch.randn(9, 5, requires_grad=True)
    targets = torch.randint(0, 9, (11,))
    weights = torch.rand(11)
    expected = (F.cross_entropy(hidden @ embedding.t(), targets, reduction="none") * weights).sum()
    found = vocabulary_cross_entropy(hidden, embedding, targets, weights, chunk)
    assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(3 * found, (hidden, embedding)),
        torch.autograd.grad(3 * expected, (hidden, embedding)),
        strict=True,
    ):
        assert_close(one, other)


def test_chunked_cross_entropy_without_gradients_and_without_tokens() -> None:
    hidden = torch.randn(3, 5)
    embedding = torch.randn(9, 5, requires_grad=True)
    targets = torch.tensor([0, 4, 8])
    with torch.no_grad():
        assert_close(
            vocabulary_cross_entropy(hidden, embedding, targets, torch.ones(3)),
            F.cross_entropy(hidden @ embedding.t(), targets, reduction="sum"),
        )
    assert vocabulary_cross_entropy(hidden[:0], embedding, targets[:0], torch.ones(0)).item() == 0


def test_contrastive_loss_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(4, 3), dim=1) for _ in range(2))
    logits = images @ texts.t() / 0.07
    terms = [
        math.log(sum(math.exp(x) for x in row.tolist())) - row[i].item()
        for m in (logits, logits.t())
        for i, row in enumerate(m)
    ]
    assert contrastive_loss(images, texts, 0.07).item() == pytest.approx(sum(terms) / 8, rel=1e-5)


def test_balance_loss_is_zero_where_all_groups_are_used_alike() -> None:
    words = torch.tensor([[False, True, True, False]])
    even = torch.tensor([[[0.0, 30, 0, 9], [0, 0, 30, 9]]])
    one = torch.tensor([[[0.0, 30, 30, 0], [9, 0, 0, 9]]])
    assert balance_loss(even, words).item() == pytest.approx(0, abs=1e-6)
    assert balance_loss(one, words).item() == pytest.approx(math.log(2), abs=1e-6)
    assert balance_loss(torch.cat([even, one]), words.expand(2, -1)).item() == pytest.approx(
        math.log(2) / 2, abs=1e-6
    )


def test_weights_of_the_reductions() -> None:
    targets = torch.tensor([[True, True, True], [True, False, False]])
    assert_close(target_weights(targets, "token_mean", 2, 4), targets / 4)
    assert_close(target_weights(targets, "sample_mean", 2, 4), torch.tensor([[1.0, 1, 1], [3, 0, 0]]) / 6)
    assert_close(target_weights(targets, "sum", 2, 4), targets.float())
