"""The text group transformer and the paper's baseline."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from networks.layers.grouping import GroupingOptions, units_of_tokens, window_average
from networks.text_group import (
    CausalTransformer,
    Decoder,
    DecoderOptions,
    TextGroupTransformer,
    TextSize,
)

SIZE = TextSize(width=16, heads=2, vocab_size=12, max_positions=8, embed_dim=8, image_width=10)
IDS = torch.tensor([[1, 5, 6, 7, 8, 2], [1, 9, 2, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()


def tiny(**changes: Any) -> TextGroupTransformer:
    """A small network whose weights are large enough for tokens to differ."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"groups": 3, "depth": 2, "group_depth": 1, "size": SIZE}
    network = TextGroupTransformer(**(sizes | changes))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return network.eval()


def test_the_tokens_of_a_unit_share_their_scores_and_their_noise() -> None:
    network = tiny()
    network.set_openers([6, 7])
    ids = torch.randint(5, 12, (50, 7))
    mask = torch.ones(50, 7).bool()
    units = units_of_tokens(network.is_opener[ids], mask)
    together = units[:, 1:] == units[:, :-1]
    assert 0.2 < together.float().mean() < 0.9
    scores = network(ids, mask).scores
    later = scores[:, :, 1:].transpose(1, 2)
    earlier = scores[:, :, :-1].transpose(1, 2)
    assert_close(later[together], earlier[together])
    assert (later != earlier).any(dim=2)[~together].all()


def test_openers_can_be_taken_away_and_a_window_is_used_instead() -> None:
    mask = torch.ones(1, 4).bool()
    network = tiny(grouping=GroupingOptions(smoothing_radius=1))
    network.set_openers([6])
    network.set_openers([])
    assert_close(network.score_average(torch.full((1, 4), 6), mask), window_average(mask, 1))
    assert tiny().score_average(torch.full((1, 4), 6), mask) is None


@pytest.mark.parametrize("block", ["groupvit", "minimal"])
@pytest.mark.parametrize("separate_layers", [0, "all"])
@pytest.mark.parametrize("values", ["encoded", "embedded"])
def test_padding_changes_nothing(block: Any, separate_layers: Any, values: Any) -> None:
    network = tiny(separate_layers=separate_layers, grouping=GroupingOptions(block, values))
    padded = network(IDS, MASK)
    alone = network(IDS[1:, :3], MASK[1:, :3])
    assert_close(padded.groups[1:], alone.groups)
    assert_close(padded.scores[1:, :, :3], alone.scores)
    hidden = network.decode(IDS, padded.groups)
    assert_close(hidden[1:, :2], network.decode(IDS[1:, :3], alone.groups))


def influence(network: TextGroupTransformer, module: torch.nn.Module, argument: int) -> bool:
    """Whether the input of ``module`` changes with another token in the caption."""
    passed: list[Tensor] = []
    handle = module.register_forward_pre_hook(
        lambda _, inputs: passed.append(inputs[argument].detach().clone())
    )
    for other in (5, 6):
        ids = IDS.clone()
        ids[0, 1] = other
        network(ids, MASK)
    handle.remove()
    return not torch.allclose(passed[0][0], passed[1][0], atol=1e-6)


def test_separate_groups_know_nothing_of_the_tokens_before_the_grouping_block() -> None:
    for separate_layers, reads in ((0, True), (1, True), (2, False), ("all", False)):
        network = tiny(separate_layers=separate_layers)
        assert influence(network, network.grouping, 0) is reads
        assert influence(network, network.grouping, 1)


def test_embedded_values_hold_their_own_words_alone() -> None:
    """With equations 1 to 4, groups to which no changed token belongs stay as they were."""
    network = tiny(separate_layers="all", group_depth=0, grouping=GroupingOptions("minimal", "embedded"))
    with torch.no_grad():
        first = network(IDS, MASK)
        other = IDS.clone()
        other[0, 2] = 11
        second = network(other, MASK)
    before = first.scores[0].argmax(0)
    after = second.scores[0].argmax(0)
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
    first = network.decode(IDS, groups)
    second = network.decode(other, groups)
    assert_close(first[0, :3], second[0, :3])
    assert not torch.allclose(first[0, 3:], second[0, 3:], atol=1e-4)
    assert first.shape == (2, 5, 16)


def test_word_dropout_hides_words_in_training_alone_but_never_the_start() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, DecoderOptions(word_dropout=0.999)).train()
    words = torch.randn(1, 4, 8)
    positions = torch.randn(4, 8)
    groups = torch.randn(1, 2, 8)
    only_start = torch.cat([words[:, :1], torch.zeros(1, 3, 8)], dim=1)
    hidden = decoder(words, positions, groups)
    decoder.eval()
    assert_close(hidden, decoder(only_start, positions, groups))
    assert not torch.allclose(hidden, decoder(words, positions, groups))


def test_bottleneck_limits_what_a_group_can_say() -> None:
    narrow = Decoder(16, DecoderOptions(bottleneck=2)).narrow
    assert torch.linalg.matrix_rank(narrow(torch.randn(50, 16)) - narrow(torch.zeros(16))).item() == 2


@pytest.mark.parametrize("network", [tiny(), CausalTransformer(2, SIZE)])
def test_features_have_unit_length_and_projecting_commutes_with_the_mean(network: Any) -> None:
    groups = network.eval()(IDS, MASK).groups
    features = network.text_feature(groups)
    assert_close(features.norm(dim=1), torch.ones(2))
    assert_close(features, F.normalize(network.text_head(groups.mean(1)), dim=-1))
    assert network.image_feature(torch.randn(3, 10)).shape == (3, 8)


def test_the_causal_baseline_takes_the_last_token() -> None:
    network = CausalTransformer(2, SIZE)
    with torch.no_grad():
        network.token_embedding.weight.normal_()
    encoded = network(IDS, MASK)
    assert encoded.scores is None
    vectors = network.token_vectors(IDS)
    assert_close(encoded.groups[:, 0], torch.stack([vectors[0, 5], vectors[1, 2]]))
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
        TextSize(width=15, heads=2)
    with pytest.raises(ValueError, match="separate_layers must be between 0 and depth, which is 2"):
        tiny(separate_layers=3)
    with pytest.raises(ValueError, match="groups must be at least 1, not 0"):
        tiny(groups=0)
    with pytest.raises(ValueError, match="longer than the 8 positions"):
        tiny()(torch.zeros(1, 9, dtype=torch.long), torch.ones(1, 9))
    with pytest.raises(ValueError, match="no weights"):
        TextGroupTransformer.adapt_state_dict({"a": torch.zeros(1)})
