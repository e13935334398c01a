"""The layout of BLIP, against transformers; ALBEF's is tested with the whole model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from networks.layers.bert import BertModel, BertSize
from tests.parity import assert_parity


@torch.no_grad()
def test_blip_layout_matches_transformers() -> None:
    blip = pytest.importorskip("transformers.models.blip.modeling_blip_text")
    sizes = {
        "vocab_size": 90,
        "hidden_size": 24,
        "encoder_hidden_size": 20,
        "intermediate_size": 40,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    config = blip.BlipTextConfig(**sizes, max_position_embeddings=16)
    theirs = blip.BlipTextModel(config, add_pooling_layer=False).eval()
    torch.manual_seed(0)
    for parameter in theirs.parameters():
        parameter.normal_(std=0.3)
    size = BertSize(width=24, depth=4, heads=4, intermediate=40, vocab_size=90, max_positions=16)
    ours = BertModel(size, encoder_width=20, fusion_layer=0, use_token_types=False).eval()
    ours.load_state_dict(
        {"embeddings.position_ids": torch.arange(16)[None]} | theirs.state_dict(), strict=True
    )

    ids = torch.randint(1, 90, (3, 5))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    image = torch.randn(3, 7, 20)
    kept = {}
    for index in (1, 2):
        module = theirs.encoder.layer[index].crossattention.self
        module.register_forward_hook(
            lambda _module, _args, result, index=index: kept.update({index: result[1]})
        )
    expected = theirs(
        ids, attention_mask=mask, encoder_hidden_states=image, output_attentions=True
    ).last_hidden_state
    alone = theirs(ids, attention_mask=mask).last_hidden_state
    reference = {"hidden": expected, "attention 1": kept[1], "attention 2": kept[2], "alone": alone}

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = ours.to(dtype)
        text = model.encode_text(ids, mask)
        hidden, attentions = model.fuse(text, mask, image.to(dtype), attention_layers=(1, 2))
        alone = model.encode_text_alone(ids, mask)
        return {"hidden": hidden, "attention 1": attentions[0], "attention 2": attentions[1], "alone": alone}

    assert_parity(numbers, reference)


def test_two_attention_layers_share_one_graph() -> None:
    size = BertSize(width=8, depth=3, heads=2, intermediate=8, vocab_size=20, max_positions=8)
    model = BertModel(size, encoder_width=6, fusion_layer=0).eval()
    ids = torch.tensor([[3, 4]])
    mask = torch.ones(1, 2)
    image = torch.randn(1, 5, 6)
    with torch.no_grad():
        hidden, attentions = model.fuse(model.encode_text(ids, mask), mask, image, attention_layers=(0, 2))
    gradients = torch.autograd.grad(hidden.pow(2).sum() + hidden[0, 0, 0], attentions)
    assert [gradient.shape for gradient in gradients] == [(1, 2, 2, 5)] * 2
    assert all(gradient.abs().max() > 0 for gradient in gradients)
