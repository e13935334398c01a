from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from networks import text_group
from networks.text_group import (
    Assign,
    CausalTransformer,
    Decoder,
    GroupingBlock,
    MinimalGrouping,
    TextGroupTransformer,
    group_means,
    gumbel_noise,
    hard_assignment,
    neighbours_shared,
    place_scores,
    unit_of_token,
    units_shared,
)
from tests.parity import assert_near_exact

UNIT = {
    name: torch.from_numpy(value)
    for name, value in np.load(Path(__file__).parents[1] / "data" / "groupvit" / "grouping_unit.npz").items()
}
IDS = torch.tensor([[1, 5, 6, 7, 8, 2], [1, 9, 2, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()


def tiny(**changes: Any) -> TextGroupTransformer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "groups": 3,
        "width": 16,
        "heads": 2,
        "depth": 2,
        "group_depth": 1,
        "vocab_size": 12,
        "max_positions": 8,
    }
    network = TextGroupTransformer(**(sizes | {"embed_dim": 8, "image_width": 10} | changes))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return network.eval()


# The assignment.


@pytest.mark.parametrize(("mode", "noise"), [("train", UNIT["gumbel"]), ("eval", None)])
@pytest.mark.parametrize("eps", [1.0, 1e-6])
def test_assignment_and_means_equal_the_reference(mode: str, noise: Tensor | None, eps: float) -> None:
    raw = UNIT["q"] @ UNIT["k"].transpose(1, 2) / 8**0.5
    assert_near_exact(raw, UNIT["raw"])
    assert_near_exact(raw.softmax(dim=1), UNIT["soft"])
    hard = hard_assignment(raw, noise)
    assert_near_exact(hard, UNIT[f"hard_{mode}"])
    name = f"update_{mode}_eps{'1' if eps == 1 else '1e-06'}"
    assert_near_exact(group_means(hard, UNIT["v"], UNIT["valid"], eps), UNIT[name])


def test_an_empty_group_takes_nothing() -> None:
    hard = UNIT["hard_train"]
    empty = (hard * UNIT["valid"][:, None]).sum(-1) == 0
    assert empty.any()
    assert (group_means(hard, UNIT["v"], UNIT["valid"], 1e-6)[empty] == 0).all()


def test_the_gradient_of_a_hard_assignment_is_that_of_the_soft_one() -> None:
    raw, outer = (
        torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 3, 4, dtype=torch.float64),
    )
    hard = torch.autograd.grad((hard_assignment(raw) * outer).sum(), raw)[0]
    assert_close(hard, torch.autograd.grad((raw.softmax(dim=1) * outer).sum(), raw)[0])


def test_gumbel_noise_is_what_it_says() -> None:
    torch.manual_seed(0)
    noise = gumbel_noise(torch.zeros(200_000))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(torch.pi**2 / 6, abs=0.03)
    assert noise.isfinite().all()


def test_noise_is_for_training_alone() -> None:
    assign, groups, tokens = Assign(8, 1.0), torch.randn(1, 3, 8), torch.randn(1, 40, 8)
    mask = torch.ones(1, 40).bool()
    assert not torch.equal(assign(groups, tokens, tokens, mask)[0], assign(groups, tokens, tokens, mask)[0])
    assign.eval()
    assert torch.equal(assign(groups, tokens, tokens, mask)[0], assign(groups, tokens, tokens, mask)[0])


def test_neighbours_share_scores_and_padding_has_none() -> None:
    scores, mask = torch.tensor([[[0.0, 3, 6, 9, 500]]]), torch.tensor([[True, True, True, True, False]])
    assert_close(
        (scores @ neighbours_shared(mask, 1).transpose(1, 2))[0, 0, :4], torch.tensor([1.5, 3, 6, 7.5])
    )


# [start] a man in the sun [end], and a shorter caption: "in" and "the" are openers, the second of them after
# another one.
OPENS = torch.tensor([[0, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0]]).bool()
OPENS_MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]]).bool()


def test_captions_are_cut_at_openers() -> None:
    unit = unit_of_token(OPENS, OPENS_MASK)
    assert unit.tolist() == [[0, 1, 1, 2, 2, 2, 2], [0, 1, 1, 1, 1, 1, 1]]
    shared = units_shared(unit, OPENS_MASK)
    assert_close(shared[0, 5], torch.tensor([0, 0, 0, 0.25, 0.25, 0.25, 0.25]))
    assert_close(shared[1, 2], torch.tensor([0, 1, 1, 1, 0, 0, 0]) / 3)


def test_the_tokens_of_a_unit_share_their_scores_and_their_noise() -> None:
    network, ids = tiny(), torch.randint(5, 12, (50, 7))
    network.know_openers([6, 7])
    mask = torch.ones(50, 7).bool()
    unit = unit_of_token(network.opens[ids], mask)
    together = unit[:, 1:] == unit[:, :-1]
    found = network(ids, mask).raw
    assert found is not None
    assert 0.2 < together.float().mean() < 0.9
    assert_close(found[:, :, 1:].transpose(1, 2)[together], found[:, :, :-1].transpose(1, 2)[together])
    assert (found[:, :, 1:] != found[:, :, :-1]).any(dim=1)[~together].all()


@pytest.mark.parametrize(
    "shared", [units_shared(unit_of_token(OPENS, OPENS_MASK), OPENS_MASK), neighbours_shared(OPENS_MASK, 1)]
)
def test_shared_noise_keeps_its_spread(shared: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    seen: list[Tensor] = []
    monkeypatch.setattr(
        text_group, "hard_assignment", lambda raw, noise: seen.append(noise) or hard_assignment(raw, noise)
    )
    assign, tokens = Assign(8, 1.0), torch.randn(2, 7, 8)
    for _ in range(2000):
        assign(torch.randn(2, 3, 8), tokens, tokens, OPENS_MASK, shared)
    spread = torch.stack(seen).var(dim=0).mean(dim=1)
    assert_close(spread[OPENS_MASK], torch.full((11,), torch.pi**2 / 6), atol=0.15, rtol=0)


def test_places_alone_cut_a_caption_into_equal_pieces() -> None:
    mask = torch.arange(12) < torch.tensor([[12], [8], [3]])
    scores = place_scores(mask, 4)
    assert scores.argmax(dim=1)[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert scores.argmax(dim=1)[1, :8].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert_close(
        scores[0, :, 1], -torch.tensor([0.0, 1.0, 4.0, 9.0])
    )  # the middle of the first piece is one piece away from that of the second
    assert tiny(place=0.0).grouping.assign.place is None
    assert tiny(groups=4, place=2.0).grouping.assign.place.item() == 2.0


def test_with_reach_neighbours_go_together() -> None:
    torch.manual_seed(0)
    groups, tokens, mask = torch.randn(50, 4, 8), torch.randn(50, 16, 8), torch.ones(50, 16).bool()
    changes = []
    for reach in (0, 2):
        torch.manual_seed(1)
        assign = Assign(8, 1.0)
        _, raw = assign(groups, tokens, tokens, mask, neighbours_shared(mask, reach))
        changes.append((raw.argmax(1).diff(dim=1) != 0).float().mean().item())
    assert changes[1] < 0.7 * changes[0]


def test_minimal_grouping_is_the_equations() -> None:
    """g_i + W_o (sum_j A_ij W_v t_j) / (sum_j A_ij), with A the one-hot of softmax_i(W_q g_i . W_k t_j /
    sqrt(W)).
    """
    torch.manual_seed(0)
    block, groups, tokens = MinimalGrouping(8).eval(), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    g, t, a = block.norm_groups(groups)[0], block.norm_x(tokens)[0], block.assign
    expected = groups[0].clone()
    for i in range(3):
        own = [j for j in range(5) if max(range(3), key=lambda k: (a.query(g[k]) @ a.key(t[j])).item()) == i]
        expected[i] += a.proj(torch.stack([a.value(t[j]) for j in own]).mean(0) if own else torch.zeros(8))
    found, raw = block(groups, tokens, tokens, torch.ones(1, 5).bool())
    assert_close(found[0], expected)
    assert raw.shape == (1, 3, 5)


# The network.


@pytest.mark.parametrize("grouping", ["groupvit", "minimal"])
@pytest.mark.parametrize("isolated", [0, 2])
@pytest.mark.parametrize("values", ["encoded", "embedded"])
def test_padding_changes_nothing(grouping: Any, isolated: int, values: Any) -> None:
    network = tiny(grouping=grouping, isolated=isolated, values=values)
    padded, alone = network(IDS, MASK), network(IDS[1:, :3], MASK[1:, :3])
    assert_close(padded.groups[1:], alone.groups)
    assert_close(padded.raw[1:, :, :3], alone.raw)
    hidden = network.decode(IDS, padded.groups)
    assert_close(hidden[1:, :2], network.decode(IDS[1:, :3], alone.groups))


def influence(network: TextGroupTransformer, module: torch.nn.Module, argument: int) -> bool:
    """Whether the input of ``module`` changes with another token in the caption."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[argument].detach().clone())
    )
    for other in (5, 6):
        ids = IDS.clone()
        ids[0, 1] = other
        network(ids, MASK)
    handle.remove()
    return not torch.allclose(seen[0][0], seen[1][0], atol=1e-6)


def test_isolated_groups_know_nothing_of_the_tokens_before_the_grouping_block() -> None:
    for isolated, reads in ((0, True), (1, True), (2, False)):
        network = tiny(isolated=isolated)
        assert influence(network, network.grouping, 0) is reads
        assert influence(network, network.grouping, 1)


def test_embedded_values_hold_their_own_words_alone() -> None:
    """With equations 1 to 4, isolated groups and embedded values, a group that no changed token belongs to
    stays as it was.
    """
    network = tiny(grouping="minimal", isolated=2, values="embedded", group_depth=0)
    with torch.no_grad():
        first = network(IDS, MASK)
        other = IDS.clone()
        other[0, 2] = 11
        second = network(other, MASK)
    before, after = first.raw[0].argmax(0), second.raw[0].argmax(0)
    untouched = [g for g in range(3) if torch.equal(before == g, after == g) and before[2] != g]
    assert untouched
    for group in untouched:
        assert_close(first.groups[0, group], second.groups[0, group])
    assert not torch.allclose(first.groups[0, after[2]], second.groups[0, after[2]], atol=1e-4)


def test_the_decoder_sees_no_word_before_it_is_said() -> None:
    network = tiny()
    groups = network(IDS, MASK).groups
    other = IDS.clone()
    other[0, 3] = 11
    first, second = network.decode(IDS, groups), network.decode(other, groups)
    assert_close(first[0, :3], second[0, :3])
    assert not torch.allclose(first[0, 3:], second[0, 3:], atol=1e-4)
    assert first.shape == (2, 5, 16)


def test_word_dropout_hides_words_in_training_alone_but_never_the_start() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, word_dropout=0.999).train()
    words, positions, groups = torch.randn(1, 4, 8), torch.randn(4, 8), torch.randn(1, 2, 8)
    only_start = torch.cat([words[:, :1], torch.zeros(1, 3, 8)], dim=1)
    hidden = decoder(words, positions, groups)
    decoder.eval()
    assert_close(hidden, decoder(only_start, positions, groups))
    assert not torch.allclose(hidden, decoder(words, positions, groups))


def test_bottleneck_limits_what_a_group_can_say() -> None:
    narrow = Decoder(16, bottleneck=2).narrow
    assert torch.linalg.matrix_rank(narrow(torch.randn(50, 16)) - narrow(torch.zeros(16))).item() == 2


@pytest.mark.parametrize("network", [tiny(), CausalTransformer(16, 2, 2, 12, 8, 8, 10)])
def test_features_have_unit_length_and_projecting_commutes_with_the_mean(network: Any) -> None:
    groups = network.eval()(IDS, MASK).groups
    found = network.text_feature(groups)
    assert_close(found.norm(dim=1), torch.ones(2))
    assert_close(found, F.normalize(network.text_head(groups.mean(1)), dim=-1))
    assert network.image_feature(torch.randn(3, 10)).shape == (3, 8)


def test_the_causal_baseline_takes_the_last_token() -> None:
    network = CausalTransformer(16, 2, 2, 12, 8, 8, 10)
    with torch.no_grad():
        network.token_embedding.weight.normal_()
    found = network(IDS, MASK)
    assert found.raw is None
    vectors = network.token_vectors(IDS)
    assert_close(found.groups[:, 0], torch.stack([vectors[0, 5], vectors[1, 2]]))
    other = IDS.clone()
    other[0, 4] = 11
    assert_close(network.token_vectors(other)[0, :4], vectors[0, :4])


def test_sizes_of_the_paper() -> None:
    network = TextGroupTransformer()
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert count["token_embedding"] == 49408 * 128
    assert count["layers"] == 6 * 198_272
    assert 0.3e6 < count["grouping"] < 0.45e6


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="divided"):
        tiny(width=15)
    with pytest.raises(ValueError, match="isolated"):
        tiny(isolated=3)
    with pytest.raises(ValueError, match="longer than the 8 positions"):
        tiny()(torch.zeros(1, 9, dtype=torch.long), torch.ones(1, 9))
    with pytest.raises(ValueError, match="no weights"):
        TextGroupTransformer.adapt_state_dict({"a": torch.zeros(1)})


def test_the_full_block_passes_the_assignment_gradient() -> None:
    torch.manual_seed(0)
    block, groups, tokens = GroupingBlock(8, 2, 3), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    found, _ = block(groups, tokens, tokens, torch.ones(2, 5).bool())
    found.square().sum().backward()
    assert block.assign.query.weight.grad.abs().sum() > 0
    assert block.assign.key.weight.grad.abs().sum() > 0
