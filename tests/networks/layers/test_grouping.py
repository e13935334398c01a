"""Grouping blocks, against GroupViT's numbers and against their equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.layers import grouping as grouping_layers
from networks.layers.grouping import (
    Assign,
    GroupingBlock,
    GroupingOptions,
    MinimalGrouping,
    group_means,
    grouping_block,
    gumbel_noise,
    hard_assignment,
    positional_prior,
    unit_average,
    units_of_tokens,
    window_average,
)
from tests.parity import assert_near_exact

FOLDER = Path(__file__).parents[2] / "data" / "groupvit"
UNIT = {name: torch.from_numpy(value) for name, value in np.load(FOLDER / "grouping_unit.npz").items()}


@pytest.mark.parametrize(("mode", "noise"), [("train", UNIT["gumbel"]), ("eval", None)])
@pytest.mark.parametrize("eps", [1.0, 1e-6])
def test_assignment_and_means_equal_the_reference(mode: str, noise: Tensor | None, eps: float) -> None:
    scores = UNIT["q"] @ UNIT["k"].transpose(1, 2) / 8**0.5
    assert_near_exact(scores, UNIT["raw"])
    assert_near_exact(scores.softmax(dim=1), UNIT["soft"])
    hard = hard_assignment(scores, noise)
    assert_near_exact(hard, UNIT[f"hard_{mode}"])
    name = f"update_{mode}_eps{'1' if eps == 1 else '1e-06'}"
    assert_near_exact(group_means(hard, UNIT["v"], UNIT["valid"], eps), UNIT[name])


def test_an_empty_group_takes_nothing() -> None:
    hard = UNIT["hard_train"]
    empty = (hard * UNIT["valid"][:, None]).sum(-1) == 0
    assert empty.any()
    assert (group_means(hard, UNIT["v"], UNIT["valid"], 1e-6)[empty] == 0).all()


def test_the_gradient_of_a_hard_assignment_is_that_of_the_soft_one() -> None:
    scores = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    outer = torch.randn(2, 3, 4, dtype=torch.float64)
    hard = torch.autograd.grad((hard_assignment(scores) * outer).sum(), scores)[0]
    assert_close(hard, torch.autograd.grad((scores.softmax(dim=1) * outer).sum(), scores)[0])


def test_gumbel_noise_is_what_it_says() -> None:
    torch.manual_seed(0)
    noise = gumbel_noise(torch.zeros(200_000))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(torch.pi**2 / 6, abs=0.03)
    assert noise.isfinite().all()


def test_noise_is_for_training_alone() -> None:
    assign = Assign(8, 1.0)
    groups = torch.randn(1, 3, 8)
    tokens = torch.randn(1, 40, 8)
    mask = torch.ones(1, 40).bool()
    assert not torch.equal(assign(groups, tokens, tokens, mask)[0], assign(groups, tokens, tokens, mask)[0])
    assign.eval()
    assert torch.equal(assign(groups, tokens, tokens, mask)[0], assign(groups, tokens, tokens, mask)[0])


def test_neighbours_share_scores_and_padding_has_no_share() -> None:
    scores = torch.tensor([[[0.0, 3, 6, 9, 500]]])
    mask = torch.tensor([[True, True, True, True, False]])
    averaged = scores @ window_average(mask, 1).transpose(1, 2)
    assert_close(averaged[0, 0, :4], torch.tensor([1.5, 3, 6, 7.5]))


# [start] a man in the sun [end], and a shorter caption: "in" and "the" are openers, the second of them after
# another one.
IS_OPENER = torch.tensor([[0, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0]]).bool()
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]]).bool()


def test_captions_are_cut_at_openers() -> None:
    units = units_of_tokens(IS_OPENER, MASK)
    assert units.tolist() == [[0, 1, 1, 2, 2, 2, 2], [0, 1, 1, 1, 1, 1, 1]]
    average = unit_average(units, MASK)
    assert_close(average[0, 5], torch.tensor([0, 0, 0, 0.25, 0.25, 0.25, 0.25]))
    assert_close(average[1, 2], torch.tensor([0, 1, 1, 1, 0, 0, 0]) / 3)


@pytest.mark.parametrize(
    "average", [unit_average(units_of_tokens(IS_OPENER, MASK), MASK), window_average(MASK, 1)]
)
def test_averaged_noise_keeps_its_spread(average: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    draws: list[Tensor] = []

    def recorded(scores: Tensor, noise: Tensor) -> Tensor:
        draws.append(noise)
        return hard_assignment(scores, noise)

    monkeypatch.setattr(grouping_layers, "hard_assignment", recorded)
    assign = Assign(8, 1.0)
    tokens = torch.randn(2, 7, 8)
    for _ in range(2000):
        assign(torch.randn(2, 3, 8), tokens, tokens, MASK, average)
    spread = torch.stack(draws).var(dim=0).mean(dim=1)
    assert_close(spread[MASK], torch.full((11,), torch.pi**2 / 6), atol=0.15, rtol=0)


def test_the_positional_prior_alone_cuts_a_caption_into_equal_pieces() -> None:
    mask = torch.arange(12) < torch.tensor([[12], [8], [3]])
    scores = positional_prior(mask, 4)
    assert scores.argmax(dim=1)[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert scores.argmax(dim=1)[1, :8].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # The middle of the first piece is one piece away from that of the second.
    assert_close(scores[0, :, 1], -torch.tensor([0.0, 1.0, 4.0, 9.0]))


def test_the_weight_of_the_positional_prior_is_learnt() -> None:
    assert Assign(8, 1.0).place is None
    assign = Assign(8, 1.0, prior=2.0)
    assert isinstance(assign.place, torch.nn.Parameter)
    assert assign.place.item() == 2.0


def test_with_a_window_neighbours_go_together() -> None:
    torch.manual_seed(0)
    groups = torch.randn(50, 4, 8)
    tokens = torch.randn(50, 16, 8)
    mask = torch.ones(50, 16).bool()
    changes = []
    for radius in (0, 2):
        torch.manual_seed(1)
        _, scores = Assign(8, 1.0)(groups, tokens, tokens, mask, window_average(mask, radius))
        changes.append((scores.argmax(1).diff(dim=1) != 0).float().mean().item())
    assert changes[1] < 0.7 * changes[0]


def test_minimal_grouping_is_the_equations() -> None:
    """g_i + W_o (sum_j A_ij W_v t_j) / (sum_j A_ij).

    A is the one-hot of softmax_i(W_q g_i . W_k t_j / sqrt(W)).
    """
    torch.manual_seed(0)
    block = MinimalGrouping(8).eval()
    groups = torch.randn(1, 3, 8)
    tokens = torch.randn(1, 5, 8)
    contents, scores = block(groups, tokens, tokens, torch.ones(1, 5).bool())
    assert scores.shape == (1, 3, 5)

    assign = block.assign
    queries = assign.query(block.norm_groups(groups)[0])
    keys = assign.key(block.norm_x(tokens)[0])
    values = assign.value(block.norm_x(tokens)[0])
    expected = groups[0].clone()
    group_of_token = [max(range(3), key=lambda i, j=j: (queries[i] @ keys[j]).item()) for j in range(5)]
    for i in range(3):
        own = [values[j] for j in range(5) if group_of_token[j] == i]
        mean = torch.stack(own).mean(0) if own else torch.zeros(8)
        expected[i] += assign.proj(mean)
    assert_close(contents[0], expected)


def test_the_full_block_passes_the_gradient_of_the_assignment() -> None:
    torch.manual_seed(0)
    block = GroupingBlock(8, 2, 3)
    tokens = torch.randn(2, 5, 8)
    contents, _ = block(torch.randn(2, 3, 8), tokens, tokens, torch.ones(2, 5).bool())
    contents.square().sum().backward()
    assert block.assign.query.weight.grad.abs().sum() > 0
    assert block.assign.key.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("block", "eps"), [("groupvit", 1.0), ("minimal", 1e-6)])
def test_each_block_has_its_own_eps_unless_it_is_set(block: Any, eps: float) -> None:
    assert grouping_block(8, 2, 3, GroupingOptions(block=block)).assign.eps == eps
    assert grouping_block(8, 2, 3, GroupingOptions(block=block, eps=0.5)).assign.eps == 0.5
