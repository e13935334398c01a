"""BLIP against the public code's numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from networks.blip import BLIP
from networks.layers.class_activation import attention_gradients, cam_target, class_activation_map
from networks.layers.vit import VisionTransformer, ViTSize
from tests.networks.blip_parity import ENC_ID, TINY, outputs, state_dict, tiny_blip
from tests.parity import assert_parity

LAYERS = (7, 8)


@torch.no_grad()
def test_forward_numbers_are_those_of_the_reference() -> None:
    given = outputs()

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = tiny_blip().to(dtype)
        image_embeds = model.encode_image(given["image"].to(dtype))
        text_embeds = model.encode_text(given["ids_cls"], given["att"])
        fused = model.fuse(given["ids_enc"], given["att"], image_embeds).hidden
        return {
            "image_embeds": image_embeds,
            "text_embeds_cls": text_embeds,
            "image_feat": model.image_feature(image_embeds),
            "text_feat": model.text_feature(text_embeds),
            "fusion": fused,
            "itm_logits": model.match_logits(fused),
        }

    assert_parity(numbers, outputs())


@torch.no_grad()
def test_attention_gradients_and_maps_are_those_of_the_reference() -> None:
    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = tiny_blip().to(dtype)
        ids = outputs()["ids_enc"]
        mask = outputs()["att"]
        image_embeds = model.encode_image(outputs()["image"].to(dtype))
        fusion = model.fuse(ids, mask, image_embeds, attention_layers=LAYERS)
        gradients = attention_gradients(cam_target(model.match_logits(fusion.hidden)), fusion.attentions)
        maps = {}
        for layer, attention, gradient in zip(LAYERS, fusion.attentions, gradients, strict=True):
            for name, heads in (("head9", [9]), ("headavg_tokavg", None)):
                maps[f"gradcam_idx{layer}_{name}"] = class_activation_map(
                    attention, gradient, mask, model.grid, token_reduce="mean_all", heads=heads
                )
        maps["gradcam_eval_mean"] = (maps["gradcam_idx7_head9"] + maps["gradcam_idx8_head9"]) / 2
        del maps["gradcam_idx7_headavg_tokavg"]
        tensors = {"attn": fusion.attentions, "grad": gradients}
        for name, (seventh, eighth) in tensors.items():
            maps |= {f"{name}_idx7": seventh, f"{name}_idx8": eighth}
        return maps

    assert_parity(numbers, outputs())


@torch.no_grad()
def test_a_text_that_begins_with_cls_is_matched_otherwise() -> None:
    model = tiny_blip()
    image_embeds = model.encode_image(outputs()["image"])
    hidden = model.fuse(outputs()["ids_cls"], outputs()["att"], image_embeds).hidden
    assert (model.match_logits(hidden) - outputs()["itm_logits"]).abs().max() > 0.1


def test_published_sizes_have_the_official_keys() -> None:
    with torch.device("meta"):
        base = BLIP()
        large = BLIP(ViTSize(image_size=224, width=1024, depth=24, heads=16, drop_path=0.1))
    for model, width, millions in ((base, 768, 85.8), (large, 1024, 303.3)):
        assert len(model.text_encoder.state_dict()) == 317
        assert model.state_dict()["text_encoder.encoder.layer.0.crossattention.self.key.weight"].shape == (
            768,
            width,
        )
        count = sum(parameter.numel() for parameter in model.visual_encoder.parameters())
        assert count == pytest.approx(millions * 1e6, rel=1e-3)
    assert base.attention_layers(None) == (8,)
    assert base.grid == (14, 14)
    assert base.image_queue.shape == (256, 57600)


def test_decoder_shares_all_but_self_attention() -> None:
    model = BLIP(**TINY)
    assert set(model.text_decoder.bert.state_dict()) == set(model.text_encoder.state_dict())
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for name in model.text_encoder.state_dict():
        if not name.endswith("position_ids"):
            shared = tensors[f"text_encoder.{name}"] is tensors[f"text_decoder.bert.{name}"]
            assert shared == (".attention." not in name), name
    words = tensors["text_encoder.embeddings.word_embeddings.weight"]
    assert tensors["text_decoder.cls.predictions.decoder.weight"] is words
    assert tensors["text_encoder_m.embeddings.word_embeddings.weight"] is not words


@torch.no_grad()
def test_decoder_sees_the_image_and_what_was_written_but_not_what_follows() -> None:
    model = tiny_blip()
    image_embeds = model.encode_image(outputs()["image"])
    ids = outputs()["ids_cls"].clone()
    mask = torch.ones_like(outputs()["att"])
    logits = model.next_token_logits(ids, mask, image_embeds)
    assert logits.shape == (3, 5, 300)
    ids[:, 3] = 7
    changed = (model.next_token_logits(ids, mask, image_embeds) - logits).abs().amax(dim=(0, 2))
    assert changed[:3].max() < 1e-5 < changed[3:].min()
    assert (model.next_token_logits(ids, mask, image_embeds.flip(0)) - logits).abs().max() > 1e-3


def test_drop_path_leaves_out_branches_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = VisionTransformer(replace(TINY["vision"], drop_path=0.5))
    assert [block.drop_path.p for block in encoder.blocks] == [0, 0.25, 0.5]
    images = outputs()["image"][:1].repeat(8, 1, 1, 1)
    tokens = encoder.eval()(images)
    assert torch.equal(tokens[0], tokens[1])
    tokens = encoder.train()(images)
    assert len({row.sum().item() for row in tokens}) > 1
    with pytest.raises(ValueError, match="drop_path must be in"):
        replace(TINY["vision"], drop_path=1.0)


def test_attention_in_inference_mode_says_what_to_set() -> None:
    model = tiny_blip()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode to false"):
        model.fuse(
            torch.full((1, 2), ENC_ID),
            torch.ones(1, 2),
            torch.zeros(1, 17, 36),
            attention_layers=LAYERS,
        )


# Layouts of checkpoints.


def pretrained() -> dict[str, Tensor]:
    """What the authors' pre-training writes, with random tensors for what the parity file has none of."""
    return dict(tiny_blip().state_dict()) | state_dict()


def test_pretraining_layout_loads_strictly() -> None:
    state = pretrained()
    assert len(state) == 365 * 2 - 2 + 317 + 7 + 4  # twins but of the matching head, decoder, head, rest
    model = BLIP(**TINY)
    model.load_state_dict(model.adapt_state_dict({"model": state}), strict=True)
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_retrieval_layout_lacks_the_decoder_alone() -> None:
    state = {name: tensor for name, tensor in pretrained().items() if not name.startswith("text_decoder.")}
    state |= {"ptr_queue": state.pop("queue_ptr") + 3, "idx_queue": torch.zeros(1, 32)}
    model = BLIP(**TINY)
    result = model.load_state_dict(model.adapt_state_dict({"model": state}), strict=False)
    assert result.unexpected_keys == []
    own_to_decoder = [".attention." in name or ".cls." in name for name in result.missing_keys]
    assert all(own_to_decoder)
    assert len(own_to_decoder) == 12 * 10 + 6
    assert model.queue_ptr.tolist() == [3]


def test_other_image_sizes_load() -> None:
    model = BLIP(**TINY | {"vision": replace(TINY["vision"], image_size=96)})
    model.load_state_dict(model.adapt_state_dict(pretrained()), strict=True)
    assert model.visual_encoder.pos_embed.shape == (1, 37, 36)


def test_a_decoder_that_shares_nothing_is_refused() -> None:
    state = pretrained()
    name = "text_decoder.bert.encoder.layer.1.output.dense.weight"
    state[name] = state[name] + 1
    with pytest.raises(ValueError, match="fine-tuned for question answering"):
        BLIP(**TINY).adapt_state_dict(state)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing of BLIP"):
        BLIP(**TINY).adapt_state_dict({"fc.weight": torch.zeros(2)})
