from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.albef import ALBEF, Fusion
from networks.layers.class_activation import attention_gradients, cam_target, class_activation_map, minmax
from tests.networks.albef_parity import (
    MAP_LAYERS,
    TINY,
    forward_numbers,
    inputs,
    outputs,
    state_dict,
    tiny_albef,
    tiny_sizes,
)
from tests.parity import assert_parity


@pytest.fixture(scope="module")
def model() -> ALBEF:
    return tiny_albef()


@pytest.fixture(scope="module")
def image_embeds(model: ALBEF) -> Tensor:
    with torch.no_grad():
        return model.encode_image(inputs()["images"])


def tokens(name: str) -> tuple[Tensor, Tensor]:
    return inputs()[f"ids_{name}"], inputs()[f"att_{name}"]


def fuse(model: ALBEF, name: str, image_embeds: Tensor, **options: Any) -> Fusion:
    ids, mask = tokens(name)
    return model.fuse(model.encode_text(ids, mask), mask, image_embeds, **options)


def raw_map(
    model: ALBEF, image_embeds: Tensor, name: str, target: str = "itm_logit", create_graph: bool = False
) -> Tensor:
    fusion = fuse(model, name, image_embeds, attention_layers=MAP_LAYERS, create_graph=create_graph)
    (gradient,) = attention_gradients(
        cam_target(model.match_logits(fusion.hidden), target), fusion.attentions, create_graph=create_graph
    )
    return class_activation_map(
        fusion.attentions[0], gradient, tokens(name)[1], model.grid, token_reduce="mean_all"
    )


@cache
@torch.no_grad()
def encoded(dtype: torch.dtype) -> tuple[ALBEF, Tensor]:
    """The parity model in that precision, and its image tokens (4,257,36)."""
    model = tiny_albef().to(dtype)
    return model, model.encode_image(inputs()["images"].to(dtype))


@torch.no_grad()
def test_forward_numbers_are_those_of_the_reference() -> None:
    assert_parity(lambda dtype: forward_numbers(tiny_albef().to(dtype)), outputs())


@torch.no_grad()
def test_language_head_is_that_of_the_reference() -> None:
    ids = inputs()["mlm_ids"]
    mask = inputs()["att_i"]
    chosen = inputs()["mlm_labels"] != -100

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model, image_embeds = encoded(dtype)
        hidden = model.fuse(model.encode_text(ids, mask), mask, image_embeds).hidden
        return {"mlm_logits": model.mlm_logits(hidden), "chosen": model.mlm_logits(hidden[chosen])}

    assert_parity(numbers, outputs() | {"chosen": outputs()["mlm_logits"][chosen]})


@torch.no_grad()
def test_attention_and_its_gradient_are_those_of_the_reference() -> None:
    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model, image_embeds = encoded(dtype)
        fusion = fuse(model, "i", image_embeds, attention_layers=MAP_LAYERS)
        (gradient,) = attention_gradients(cam_target(model.match_logits(fusion.hidden)), fusion.attentions)
        assert fusion.attentions[0].shape == (4, 12, 7, 257)
        return {"attn_L8_i_first": fusion.attentions[0][:1], "attn_grad_L8_i_first": gradient[:1]}

    assert_parity(numbers, outputs())


@pytest.mark.parametrize("name", ["i", "j", "ij"])
@torch.no_grad()
def test_maps_are_those_of_the_reference(name: str) -> None:
    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        cam = raw_map(*encoded(dtype), name)
        cam_of_loss = raw_map(*encoded(dtype), name, target="itm_loss")
        return {
            f"gradcam_{name}": cam,
            f"gradcam_lossgrad_{name}": cam_of_loss,
            f"gradcam_minmax_{name}": minmax(cam),
        }

    assert_parity(numbers, outputs())
    assert all(parameter.grad is None for parameter in encoded(torch.float32)[0].parameters())


def test_addition_loss_and_its_second_order_gradients_are_those_of_the_reference() -> None:
    checked = [key for key in outputs() if key.startswith("add_grad::")]
    assert len(checked) == 4

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = tiny_albef().to(dtype).train()
        image_embeds = model.encode_image(inputs()["images"].to(dtype))
        map_i, map_j, map_ij = (
            raw_map(model, image_embeds, name, create_graph=True) for name in ("i", "j", "ij")
        )
        loss = (map_i + map_j - map_ij).abs().sum(dim=(1, 2)).mean()
        loss.backward()
        gradients = {key: model.get_parameter(key.removeprefix("add_grad::")).grad for key in checked}
        return {"add_loss_sumP_meanB": loss} | gradients  # type: ignore[operator]

    assert_parity(numbers, outputs(), discontinuous=checked)  # a map drops negative gradients


def test_momentum_step_and_queues_are_those_of_the_reference() -> None:
    state_after = {key: value for key, value in outputs().items() if key.startswith("after::")}
    pointer = state_after.pop("after::queue_ptr")
    assert len(state_after) == 3

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = tiny_albef().to(dtype)
        model.update_momentum()
        with torch.no_grad():
            image_embeds = model.encode_image(inputs()["images"].to(dtype), momentum=True)
            image_features = model.image_feature(image_embeds, momentum=True)
            text_features = model.text_feature(model.encode_text(*tokens("i"), momentum=True), momentum=True)
        model.enqueue(image_features, text_features)
        assert torch.equal(model.queue_ptr, pointer)
        return {key: model.state_dict()[key.removeprefix("after::")] for key in state_after}

    assert_parity(numbers, state_after)


def test_twins_begin_equal_and_a_momentum_update_moves_each() -> None:
    model = ALBEF(**tiny_sizes("contrast", momentum=0.75))
    twins = [name for name, _ in model.named_parameters() if "_m." in name]
    assert len(twins) == 308
    assert all(
        torch.equal(model.get_parameter(name), model.get_parameter(name.replace("_m.", ".", 1)))
        for name in twins
    )
    assert not any(model.get_parameter(name).requires_grad for name in twins)
    with torch.no_grad():
        for name in twins:
            model.get_parameter(name).add_(1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.update_momentum()
    for name, tensor in model.named_parameters():
        if "_m." in name:
            assert_close(tensor, 0.75 * before[name] + 0.25 * before[name.replace("_m.", ".", 1)])


def test_queue_wraps_around() -> None:
    model = ALBEF(**tiny_sizes("contrast", queue_size=5))
    features = torch.arange(1.0, 9.0)[:, None].expand(8, 16)
    for rows in (features[:3], features[3:6], features[6:8]):
        model.enqueue(rows, -rows)
    assert model.image_queue[0].tolist() == [6, 7, 8, 4, 5]
    assert model.text_queue[3].tolist() == [-6, -7, -8, -4, -5]
    assert model.queue_ptr.tolist() == [3]
    model.enqueue(features, features)
    assert model.image_queue[0].tolist() == [8, 4, 5, 6, 7]
    assert model.queue_ptr.tolist() == [1]


def test_temperature_is_clamped_to_its_range() -> None:
    model = ALBEF(**tiny_sizes("contrast", temperature=3.0))
    model.clamp_temperature()
    assert model.temp.item() == pytest.approx(0.5)
    model.temp.data.fill_(-1)
    model.clamp_temperature()
    assert model.temp.item() == pytest.approx(0.001)


def test_an_image_may_have_many_texts(model: ALBEF, image_embeds: Tensor) -> None:
    ids, mask = tokens("ij")
    image_of_text = torch.tensor([1, 0, 1, 1])
    text_embeds = model.encode_text(ids, mask)
    gathered = model.fuse(text_embeds, mask, image_embeds[:2], image_of_text, attention_layers=MAP_LAYERS)
    expanded = model.fuse(text_embeds, mask, image_embeds[image_of_text], attention_layers=MAP_LAYERS)
    assert_close(gathered.hidden, expanded.hidden)
    assert_close(gathered.attentions[0], expanded.attentions[0])
    with pytest.raises(ValueError, match="4 texts and 2 images do not pair up"):
        model.fuse(text_embeds, mask, image_embeds[:2])


@torch.no_grad()
def test_texts_of_several_lengths_in_one_pass_equal_separate_passes() -> None:
    names = ("i", "j", "ij")
    longest = 10
    padded = [
        [torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in tokens(name)]
        for name in names
    ]
    ids, mask = (torch.cat(parts) for parts in zip(*padded, strict=True))
    lengths = torch.tensor([tokens(name)[0].shape[1] for name in names]).repeat_interleave(4)
    image_of_text = torch.arange(4).repeat(3)

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model, image_embeds = encoded(dtype)
        hidden = model.encode_text(ids, mask)
        fusion = model.fuse(hidden, mask, image_embeds, image_of_text, attention_layers=MAP_LAYERS)
        logits = model.match_logits(fusion.hidden)
        (gradient,) = attention_gradients(cam_target(logits), fusion.attentions)
        means = {"token_reduce": "mean_all", "denominator": lengths}
        cam = class_activation_map(fusion.attentions[0], gradient, mask, model.grid, **means)
        return {"itm_logits": logits, "gradcam": cam}

    separate = {
        key: torch.cat([outputs()[f"{key}_{name}"] for name in names]) for key in ("itm_logits", "gradcam")
    }
    assert_parity(numbers, separate)


def test_fused_and_explicit_attention_agree() -> None:
    model, image_embeds = encoded(torch.float64)
    fused = fuse(model, "i", image_embeds)
    kept = fuse(model, "i", image_embeds, attention_layers=MAP_LAYERS)
    explicit = fuse(model, "i", image_embeds, attention_layers=MAP_LAYERS, create_graph=True)
    assert fused.attentions == ()
    assert_close(fused.hidden, kept.hidden)
    assert_close(fused.hidden, explicit.hidden)
    assert_close(kept.attentions[0], explicit.attentions[0])
    assert_close(kept.attentions[0].sum(dim=-1), torch.ones(4, 12, 7, dtype=torch.float64))


def test_asking_for_attention_does_not_cut_training_gradients() -> None:
    model, _ = encoded(torch.float64)
    parameter = model.get_parameter("visual_encoder.patch_embed.proj.weight")
    gradients = []
    for options in ({}, {"attention_layers": MAP_LAYERS}):
        hidden = fuse(model, "i", model.encode_image(inputs()["images"].double()), **options).hidden
        gradients.append(torch.autograd.grad(model.match_logits(hidden)[:, 1].sum(), parameter)[0])
    assert gradients[0].abs().max() > 0
    assert_close(*gradients)


def test_maps_of_a_frozen_model_and_in_inference_mode(image_embeds: Tensor) -> None:
    frozen = tiny_albef().requires_grad_(False)
    fusion = fuse(frozen, "i", image_embeds, attention_layers=MAP_LAYERS)
    assert fusion.attentions[0].is_leaf
    assert torch.equal(raw_map(frozen, image_embeds, "i"), raw_map(tiny_albef(), image_embeds, "i"))
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode to false"):
        fuse(frozen, "i", image_embeds, attention_layers=MAP_LAYERS)


@torch.no_grad()
def test_maps_stay_in_float32_under_autocast(model: ALBEF, image_embeds: Tensor) -> None:
    ids, mask = tokens("i")
    text_embeds = model.encode_text(ids, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.vision_proj(image_embeds).dtype == torch.bfloat16
        fusion = model.fuse(text_embeds, mask, image_embeds, attention_layers=MAP_LAYERS)
        logits = model.match_logits(fusion.hidden)
        (gradient,) = attention_gradients(cam_target(logits), fusion.attentions)
        cam = class_activation_map(fusion.attentions[0], gradient, mask, model.grid)
    assert {tensor.dtype for tensor in (fusion.attentions[0], logits, gradient, cam)} == {torch.float32}


def test_dropout_acts_in_training_only() -> None:
    model = ALBEF(**tiny_sizes("text", dropout=0.3)).eval()
    model.load_state_dict(state_dict())
    ids, mask = tokens("i")
    assert torch.equal(model.encode_text(ids, mask), tiny_albef().encode_text(ids, mask))
    model.train()
    torch.manual_seed(0)
    first = model.encode_text(ids, mask)
    second = model.encode_text(ids, mask)
    assert (first - second).abs().max() > 0.1
    image_embeds = model.encode_image(inputs()["images"])
    attention = fuse(model, "i", image_embeds, attention_layers=MAP_LAYERS).attentions[0]
    assert_close(attention.sum(dim=-1), torch.ones(4, 12, 7))


def test_state_is_the_official_one() -> None:
    assert len(state_dict()) == 628
    result = ALBEF(**TINY).load_state_dict(state_dict(), strict=True)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])


def test_full_size_has_the_official_numbers_of_keys() -> None:
    with torch.device("meta"):
        model = ALBEF()
    assert len(model.visual_encoder.state_dict()) == 150
    assert len(model.text_encoder.state_dict()) == 265
    assert len(model.text_encoder.bert.state_dict()) == 258
    assert len(model.state_dict()) == 844
    assert sum(parameter.numel() for parameter in model.visual_encoder.parameters()) == pytest.approx(
        85.84e6, rel=1e-3
    )
    assert model.attention_layers(None) == (8,)
    assert model.grid == (16, 16)
    decoder = model.text_encoder.cls.predictions.decoder
    assert decoder.weight is model.text_encoder.bert.embeddings.word_embeddings.weight
    twin = model.text_encoder_m
    assert twin.cls.predictions.decoder.weight is twin.bert.embeddings.word_embeddings.weight
    assert twin.bert.embeddings.word_embeddings.weight is not decoder.weight


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("vision", {"image_size": 250}, "cannot be cut into patches of 16"),
        ("vision", {"heads": 5}, "vision width of 36 cannot be divided among 5"),
        ("text", {"heads": 5}, "text width of 48 cannot be divided among 5"),
        ("contrast", {"queue_size": 0}, "at least one feature"),
        ("contrast", {"momentum": 1.5}, "momentum must be in"),
        ("text", {"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(part: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_sizes(part, **changes)


def test_a_fusion_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="fusion cannot start at layer 12 of 12"):
        ALBEF(**TINY, fusion_layer=12)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([8, 5], "maps.layers: layer 5 has no cross-attention; choose from 6 to 11"),
        ([12], "layer 12 has no cross-attention"),
        ([], "maps.layers must name a layer"),
    ],
)
def test_layers_without_cross_attention_are_refused(model: ALBEF, layers: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.attention_layers(layers)


def test_inputs_that_do_not_fit_are_refused(model: ALBEF) -> None:
    with pytest.raises(ValueError, match=r"images are \(224, 224\) pixels but this model takes 256"):
        model.encode_image(torch.zeros(1, 3, 224, 224))
    with pytest.raises(ValueError, match="65 tokens is longer than the 64 positions"):
        model.encode_text(torch.ones(1, 65, dtype=torch.long), torch.ones(1, 65))
