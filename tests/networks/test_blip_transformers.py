"""BLIP against the transformers library, on tiny random models in the library's own checkpoint layout."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.blip import BLIP
from networks.layers.beam_search import Beams
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import ViTSize
from tests.parity import assert_parity

WORDS, CLS_ID, SEP_ID, DEC_ID, ENC_ID = 60, 1, 2, 58, 59
IDS = torch.tensor([[CLS_ID, 7, 9, 30, SEP_ID], [CLS_ID, 44, SEP_ID, 0, 0]])
MASK = (IDS > 0).long()


def of_kind(first_id: int) -> Tensor:
    """The texts beginning with another special token."""
    ids = IDS.clone()
    ids[:, 0] = first_id
    return ids


@cache
@torch.no_grad()
def theirs(kind: str) -> Any:
    """A model of the library with the official epsilon and heads, which its own defaults are not."""
    library = pytest.importorskip("transformers")
    text = {
        "vocab_size": WORDS,
        "hidden_size": 24,
        "encoder_hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "label_smoothing": 0.1,
        "bos_token_id": DEC_ID,
        "eos_token_id": SEP_ID,
        "sep_token_id": SEP_ID,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "layer_norm_eps": 1e-6,
    }
    config = library.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)
    model = getattr(library, kind)(config).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        norm = name.endswith("weight") and parameter.ndim == 1
        torch.nn.init.normal_(parameter, mean=float(norm), std=0.4)
        if name.endswith("cls.predictions.bias"):
            parameter[SEP_ID] -= 1.3  # or most captions would end at once
    return model


def ours(kind: str) -> BLIP:
    """Our model with the weights of theirs, as far as it has them."""
    model = BLIP(
        ViTSize(image_size=32, patch_size=8, width=16, depth=2, heads=2),
        BertSize(24, 3, 4, intermediate=32, vocab_size=WORDS, max_positions=16),
        ContrastSize(embed_dim=8, queue_size=4),
    )
    result = model.load_state_dict(model.adapt_state_dict(theirs(kind).state_dict()), strict=False)
    assert result.unexpected_keys == []
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_matching_contrast_and_attention(images: Tensor) -> None:
    model = theirs("BlipForImageTextRetrieval")
    attention: dict[str, Tensor] = {}
    heads = model.text_encoder.encoder.layer[1].crossattention.self
    hook = heads.register_forward_hook(lambda *call: attention.update(attention=call[-1][1]))
    matched = model(of_kind(ENC_ID), images, attention_mask=MASK)
    hook.remove()
    cosines = model(IDS, images, attention_mask=MASK, use_itm_head=False).itm_score

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        network = ours("BlipForImageTextRetrieval").to(dtype)
        image_embeds = network.encode_image(images.to(dtype))
        fusion = network.fuse(of_kind(ENC_ID), MASK, image_embeds, attention_layers=(1,))
        features = network.text_feature(network.encode_text(IDS, MASK))
        return {
            "itm": network.match_logits(fusion.hidden).detach(),
            "attention": fusion.attentions[0].detach(),
            "cosines": network.image_feature(image_embeds) @ features.t(),
        }

    assert_parity(numbers, {"itm": matched.itm_score, "cosines": cosines} | attention)


@torch.no_grad()
def test_next_tokens(images: Tensor) -> None:
    reference = theirs("BlipForConditionalGeneration")(images, of_kind(DEC_ID), attention_mask=MASK)

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        network = ours("BlipForConditionalGeneration").to(dtype)
        image_embeds = network.encode_image(images.to(dtype))
        return {"logits": network.next_token_logits(of_kind(DEC_ID), MASK, image_embeds)}

    assert_parity(numbers, {"logits": reference.logits})


@pytest.mark.parametrize(
    "beams",
    [Beams(3, 12, 0), Beams(4, 9, 7, length_penalty=0.5), Beams(2, 12, 5, 0.0), Beams(1, 8, 0)],
    ids=str,
)
@torch.no_grad()
def test_captions(beams: Beams) -> None:
    """Of twelve images, for some of which the text ends early."""
    images = 2 * torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    padded = theirs("BlipForConditionalGeneration").generate(
        images,
        torch.tensor([[DEC_ID, 5, SEP_ID]] * len(images)),
        num_beams=beams.width,
        max_length=beams.max_length,
        min_length=beams.min_length,
        length_penalty=beams.length_penalty,
    )
    expected = [row[: row.index(SEP_ID) + 1] if SEP_ID in row else row for row in padded.tolist()]
    network = ours("BlipForConditionalGeneration")
    captions = network.write_captions(network.encode_image(images), torch.tensor([DEC_ID, 5]), SEP_ID, beams)
    assert [caption.tolist() for caption in captions] == expected
    assert len({len(caption) for caption in captions}) > 1
