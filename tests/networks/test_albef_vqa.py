"""The decoder of answers, and the layouts from which its network starts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.albef import ALBEF
from networks.albef_vqa import ALBEFForQuestions
from tests.networks.albef_parity import TINY, tiny_sizes

SIZES: dict[str, Any] = {
    "vision": tiny_sizes("vision", width=48)["vision"],  # as wide as the text, as in the published model
    "text": TINY["text"],
}


def tiny() -> ALBEFForQuestions:
    torch.manual_seed(0)
    return ALBEFForQuestions(**SIZES).eval()


def official(network: ALBEFForQuestions) -> dict[str, Tensor]:
    """The fine-tuned layout, every number another."""
    state = {name: torch.randn_like(tensor.float()) for name, tensor in network.state_dict().items()}
    for encoder in ("text_decoder", "text_decoder_m"):
        head = f"{encoder}.cls.predictions"
        state[f"{head}.decoder.weight"] = state[f"{encoder}.bert.embeddings.word_embeddings.weight"]
        state[f"{head}.decoder.bias"] = state[f"{head}.bias"]
    return {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}


def pretrained() -> dict[str, Tensor]:
    """A pre-trained ALBEF whose image tokens are as wide as its texts."""
    torch.manual_seed(1)
    return ALBEF(**SIZES, contrast=TINY["contrast"]).state_dict()


def test_the_fine_tuned_layout_loads_strictly() -> None:
    network = tiny()
    state = official(network)
    network.load_state_dict(network.adapt_state_dict({"model": state, "epoch": 7}), strict=True)
    loaded = network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_the_names_are_the_official_ones() -> None:
    names = set(tiny().state_dict())
    for name in (
        "visual_encoder.blocks.2.mlp.fc1.weight",
        "visual_encoder_m.pos_embed",
        "text_encoder.embeddings.word_embeddings.weight",
        "text_encoder.encoder.layer.11.crossattention.self.key.weight",
        "text_decoder.bert.embeddings.token_type_embeddings.weight",
        "text_decoder.bert.encoder.layer.0.crossattention.output.LayerNorm.bias",
        "text_decoder_m.cls.predictions.transform.dense.weight",
    ):
        assert name in names
    assert not any("text_decoder.bert.encoder.layer.6" in name for name in names)


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_decoder_starts_from_the_layers_that_see_the_image(wrapped: bool) -> None:
    network = tiny()
    state = pretrained()
    network.load_state_dict(network.adapt_state_dict({"model": state} if wrapped else state), strict=True)
    loaded = network.state_dict()
    for number in range(12):
        for part in ("attention.self.query.weight", "output.LayerNorm.bias"):
            source = state[f"text_encoder.bert.encoder.layer.{number}.{part}"]
            assert torch.equal(loaded[f"text_encoder.encoder.layer.{number}.{part}"], source)
            if number >= 6:
                decoder = f"text_decoder.bert.encoder.layer.{number - 6}.{part}"
                assert torch.equal(loaded[decoder], source)
    transform = "cls.predictions.transform.dense.weight"
    assert torch.equal(loaded[f"text_decoder.{transform}"], state[f"text_encoder.{transform}"])
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(loaded[f"text_decoder.bert.{words}"], state[f"text_encoder.bert.{words}"])
    assert network.text_decoder.cls.predictions.decoder.weight is network.text_decoder.bert.get_parameter(
        words
    )


def test_without_twins_they_are_the_network() -> None:
    network = tiny()
    state = {name: tensor for name, tensor in official(network).items() if "_m." not in name}
    network.load_state_dict(network.adapt_state_dict(state), strict=True)
    loaded = network.state_dict()
    assert all(torch.equal(tensor, loaded[name.replace("_m.", ".", 1)]) for name, tensor in loaded.items())


def test_further_words_start_as_they_are() -> None:
    network = ALBEFForQuestions(SIZES["vision"], tiny_sizes("text", vocab_size=303)["text"])
    own = copy.deepcopy(network.state_dict())
    state = pretrained()
    network.load_state_dict(network.adapt_state_dict(state), strict=True)
    words = network.state_dict()["text_encoder.embeddings.word_embeddings.weight"]
    assert torch.equal(words[:300], state["text_encoder.bert.embeddings.word_embeddings.weight"])
    assert torch.equal(words[300:], own["text_encoder.embeddings.word_embeddings.weight"][300:])


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing of ALBEFForQuestions; its first names are weight"):
        tiny().adapt_state_dict({"weight": torch.zeros(1)})
    smaller = {name: tensor[..., :5] for name, tensor in official(tiny()).items()}
    with pytest.raises(ValueError, match="of another size"):
        tiny().adapt_state_dict(smaller)


def test_a_token_sees_the_question_and_what_is_before_it() -> None:
    network = tiny()
    mask = torch.tensor([[1] * 7, [1] * 7, [1, 1, 1, 1, 0, 0, 0], [1] * 7])
    states = torch.randn(4, 7, 48)
    answers = torch.tensor([[101, 5, 9, 0], [101, 5, 8, 7]])
    answer_mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    question = torch.tensor([2, 2])

    def logits(**changes: Tensor) -> Tensor:
        arguments = {"ids": answers, "states": states} | changes
        return network.next_token_logits(
            arguments["ids"], answer_mask, arguments["states"], mask, question
        ).detach()

    first, second = logits()
    assert_close(first[:2], second[:2])
    assert (first[2] - second[2]).abs().max() > 1e-3
    padded = states.clone()
    padded[:, mask[2] == 0] += 1.0
    assert_close(logits(states=padded), logits())
    assert (logits(states=states + 1) - logits()).abs().max() > 1e-3
    alone = network.next_token_logits(
        answers[:1, :2], answer_mask[:1, :2], states[2:3], mask[2:3], question * 0
    )
    assert_close(alone[0], first[:2])
