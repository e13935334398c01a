"""BLIP against the transformers library, on tiny random models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from networks.layers.beam_search import Beams
from tests.networks.blip_transformers import DEC_ID, ENC_ID, IDS, MASK, SEP_ID, of_kind, ours, theirs
from tests.parity import assert_parity


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
