from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.albef import ALBEF, Fusion
from networks.layers.class_activation import attention_gradients, cam_target, class_activation_map, minmax
from tests.networks.albef_parity import TINY, inputs, outputs, state_dict, tiny_albef

FORWARD = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def model() -> ALBEF:
    return tiny_albef()


@pytest.fixture(scope="module")
def image_embeds(model: ALBEF) -> Tensor:
    with torch.no_grad():
        return model.encode_image(inputs()["images"])


def tokens(name: str) -> tuple[Tensor, Tensor]:
    return inputs()[f"ids_{name}"], inputs()[f"att_{name}"]


def fuse(model: ALBEF, name: str, image_embeds: Tensor, **options: bool) -> Fusion:
    ids, mask = tokens(name)
    return model.fuse(model.encode_text(ids, mask), mask, image_embeds, **options)


def raw_map(
    model: ALBEF, name: str, image_embeds: Tensor, target: str = "itm_logit", create_graph: bool = False
) -> Tensor:
    fusion = fuse(model, name, image_embeds, return_attention=True, create_graph=create_graph)
    (gradient,) = attention_gradients(
        cam_target(model.match_logits(fusion.hidden), target), fusion.attentions, create_graph=create_graph
    )
    return class_activation_map(
        fusion.attentions[0], gradient, tokens(name)[1], model.grid, token_reduce="mean_all"
    )


@torch.no_grad()
def test_forward_numbers_are_those_of_the_reference(model: ALBEF, image_embeds: Tensor) -> None:
    expected = outputs()
    assert_close(image_embeds[:1], expected["image_embeds_first"], **FORWARD)
    text_embeds = model.encode_text(*tokens("i"))
    assert_close(text_embeds, expected["text_embeds_i"], **FORWARD)
    assert_close(model.image_feature(image_embeds), expected["image_feat"], **FORWARD)
    assert_close(model.text_feature(text_embeds), expected["text_feat_i"], **FORWARD)
    assert_close(fuse(model, "i", image_embeds).hidden, expected["fusion_i"], **FORWARD)
    for name in ("i", "j", "ij"):
        assert_close(
            model.match_logits(fuse(model, name, image_embeds).hidden),
            expected[f"itm_logits_{name}"],
            **FORWARD,
        )


@torch.no_grad()
def test_language_head_is_that_of_the_reference(model: ALBEF, image_embeds: Tensor) -> None:
    ids, mask = inputs()["mlm_ids"], inputs()["att_i"]
    hidden = model.fuse(model.encode_text(ids, mask), mask, image_embeds).hidden
    # Logits reach 12 here; the reference itself is 2e-5 from its value in double precision.
    assert_close(model.mlm_logits(hidden), outputs()["mlm_logits"], atol=4e-5, rtol=1e-5)
    chosen = inputs()["mlm_labels"] != -100
    assert_close(model.mlm_logits(hidden[chosen]), outputs()["mlm_logits"][chosen], **FORWARD)


@torch.no_grad()
def test_attention_and_its_gradient_are_those_of_the_reference(model: ALBEF, image_embeds: Tensor) -> None:
    fusion = fuse(model, "i", image_embeds, return_attention=True)
    (gradient,) = attention_gradients(cam_target(model.match_logits(fusion.hidden)), fusion.attentions)
    assert fusion.attentions[0].shape == (4, 12, 7, 257)
    assert_close(fusion.attentions[0][:1].detach(), outputs()["attn_L8_i_first"], **FORWARD)
    assert_close(gradient[:1], outputs()["attn_grad_L8_i_first"], **FORWARD)


@pytest.mark.parametrize("name", ["i", "j", "ij"])
@torch.no_grad()
def test_maps_are_those_of_the_reference(model: ALBEF, image_embeds: Tensor, name: str) -> None:
    for target, key in (("itm_logit", f"gradcam_{name}"), ("itm_loss", f"gradcam_lossgrad_{name}")):
        cam, expected = raw_map(model, name, image_embeds, target), outputs()[key]
        # Maps are of the order 1e-3, so the error is held against their own peak.
        assert (cam - expected).abs().max() < 1e-4 * expected.max()
        assert_close(cam, expected, **FORWARD)
    assert_close(
        minmax(raw_map(model, name, image_embeds)), outputs()[f"gradcam_minmax_{name}"], atol=1e-4, rtol=0
    )
    assert all(parameter.grad is None for parameter in model.parameters())


def test_addition_loss_and_its_second_order_gradients_are_those_of_the_reference() -> None:
    model, expected = tiny_albef().train(), outputs()
    image_embeds = model.encode_image(inputs()["images"])
    map_i, map_j, map_ij = (
        raw_map(model, name, image_embeds, create_graph=True) for name in ("i", "j", "ij")
    )
    loss = (map_i + map_j - map_ij).abs().sum(dim=(1, 2)).mean()
    loss.backward()
    assert_close(loss.detach(), expected["add_loss_sumP_meanB"], atol=0, rtol=1e-4)
    checked = [key for key in expected if key.startswith("add_grad::")]
    assert len(checked) == 4
    for key in checked:
        gradient = model.get_parameter(key.removeprefix("add_grad::")).grad
        assert (gradient - expected[key]).abs().max() < 1e-4 * expected[key].abs().max(), key


def test_momentum_step_and_queues_are_those_of_the_reference() -> None:
    model, expected = tiny_albef(), outputs()
    model.update_momentum()
    with torch.no_grad():
        image_features = model.image_feature(
            model.encode_image(inputs()["images"], momentum=True), momentum=True
        )
        text_features = model.text_feature(model.encode_text(*tokens("i"), momentum=True), momentum=True)
    model.enqueue(image_features, text_features)
    for name in ("image_queue", "text_queue", "queue_ptr", "vision_proj_m.weight"):
        assert_close(model.state_dict()[name], expected[f"after::{name}"], **FORWARD)


def test_twins_begin_equal_and_a_momentum_update_moves_each() -> None:
    model = ALBEF(**(TINY | {"momentum": 0.75}))  # type: ignore[arg-type]
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
    model = ALBEF(**TINY | {"queue_size": 5})
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
    model = ALBEF(**TINY, temperature=3.0)
    model.clamp_temperature()
    assert model.temp.item() == pytest.approx(0.5)
    model.temp.data.fill_(-1)
    model.clamp_temperature()
    assert model.temp.item() == pytest.approx(0.001)


def test_an_image_may_have_many_texts(model: ALBEF, image_embeds: Tensor) -> None:
    ids, mask = tokens("ij")
    image_of_text = torch.tensor([1, 0, 1, 1])
    text_embeds = model.encode_text(ids, mask)
    gathered = model.fuse(text_embeds, mask, image_embeds[:2], image_of_text, return_attention=True)
    expanded = model.fuse(text_embeds, mask, image_embeds[image_of_text], return_attention=True)
    assert_close(gathered.hidden, expanded.hidden)
    assert_close(gathered.attentions[0], expanded.attentions[0])
    with pytest.raises(ValueError, match="4 texts and 2 images do not pair up"):
        model.fuse(text_embeds, mask, image_embeds[:2])


@torch.no_grad()
def test_texts_of_several_lengths_in_one_pass_equal_separate_passes(
    model: ALBEF, image_embeds: Tensor
) -> None:
    names, longest = ("i", "j", "ij"), 10
    padded = [
        [torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in tokens(name)]
        for name in names
    ]
    ids, mask = (torch.cat(parts) for parts in zip(*padded, strict=True))
    lengths = torch.tensor([tokens(name)[0].shape[1] for name in names]).repeat_interleave(4)
    image_of_text = torch.arange(4).repeat(3)
    fusion = model.fuse(
        model.encode_text(ids, mask), mask, image_embeds, image_of_text, return_attention=True
    )
    logits = model.match_logits(fusion.hidden)
    assert_close(logits, torch.cat([outputs()[f"itm_logits_{name}"] for name in names]), **FORWARD)
    (gradient,) = attention_gradients(cam_target(logits), fusion.attentions)
    cam = class_activation_map(
        fusion.attentions[0], gradient, mask, model.grid, token_reduce="mean_all", denominator=lengths
    )
    expected = torch.cat([outputs()[f"gradcam_{name}"] for name in names])
    assert (cam - expected).abs().max() < 1e-4 * expected.max()


def test_fused_and_explicit_attention_agree(model: ALBEF, image_embeds: Tensor) -> None:
    fused = fuse(model, "i", image_embeds)
    kept = fuse(model, "i", image_embeds, return_attention=True)
    explicit = fuse(model, "i", image_embeds, return_attention=True, create_graph=True)
    assert fused.attentions == ()
    assert_close(fused.hidden, kept.hidden, **FORWARD)
    assert_close(fused.hidden, explicit.hidden, **FORWARD)
    assert_close(kept.attentions[0], explicit.attentions[0], **FORWARD)
    assert_close(kept.attentions[0].sum(dim=-1), torch.ones(4, 12, 7))


def test_asking_for_attention_does_not_cut_training_gradients(model: ALBEF) -> None:
    parameter = model.get_parameter("visual_encoder.patch_embed.proj.weight")
    gradients = []
    for options in ({}, {"return_attention": True}):
        hidden = fuse(model, "i", model.encode_image(inputs()["images"][:4]), **options).hidden
        gradients.append(torch.autograd.grad(model.match_logits(hidden)[:, 1].sum(), parameter)[0])
    assert gradients[0].abs().max() > 0
    assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_maps_of_a_frozen_model_and_in_inference_mode(image_embeds: Tensor) -> None:
    frozen = tiny_albef().requires_grad_(False)
    fusion = fuse(frozen, "i", image_embeds, return_attention=True)
    assert fusion.attentions[0].is_leaf
    assert_close(raw_map(frozen, "i", image_embeds), outputs()["gradcam_i"], **FORWARD)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode to false"):
        fuse(frozen, "i", image_embeds, return_attention=True)


@torch.no_grad()
def test_maps_stay_in_float32_under_autocast(model: ALBEF, image_embeds: Tensor) -> None:
    ids, mask = tokens("i")
    text_embeds = model.encode_text(ids, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.vision_proj(image_embeds).dtype == torch.bfloat16
        fusion = model.fuse(text_embeds, mask, image_embeds, return_attention=True)
        logits = model.match_logits(fusion.hidden)
        (gradient,) = attention_gradients(cam_target(logits), fusion.attentions)
        cam = class_activation_map(fusion.attentions[0], gradient, mask, model.grid)
    assert {tensor.dtype for tensor in (fusion.attentions[0], logits, gradient, cam)} == {torch.float32}


def test_dropout_acts_in_training_only() -> None:
    model = tiny_albef(dropout=0.3)
    ids, mask = tokens("i")
    assert_close(model.encode_text(ids, mask), outputs()["text_embeds_i"], **FORWARD)
    model.train()
    torch.manual_seed(0)
    first, second = model.encode_text(ids, mask), model.encode_text(ids, mask)
    assert (first - second).abs().max() > 0.1
    image_embeds = model.encode_image(inputs()["images"])
    attention = fuse(model, "i", image_embeds, return_attention=True).attentions[0]
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
    assert (model.cam_layers, model.grid) == ((8,), (16, 16))
    decoder = model.text_encoder.cls.predictions.decoder
    assert decoder.weight is model.text_encoder.bert.embeddings.word_embeddings.weight
    twin = model.text_encoder_m
    assert twin.cls.predictions.decoder.weight is twin.bert.embeddings.word_embeddings.weight
    assert twin.bert.embeddings.word_embeddings.weight is not decoder.weight


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 250}, "cannot be cut into patches of 16"),
        ({"vision_heads": 5}, "vision width of 36 cannot be divided among 5"),
        ({"text_heads": 5}, "text width of 48 cannot be divided among 5"),
        ({"fusion_layer": 12}, "fusion cannot start at layer 12 of 12"),
        ({"cam_layers": [8, 5]}, "cam_layers: layer 5 has no cross-attention; choose from 6 to 11"),
        ({"cam_layers": [12]}, "layer 12 has no cross-attention"),
        ({"cam_layers": []}, "cam_layers must name a layer"),
        ({"queue_size": 0}, "at least one feature"),
        ({"momentum": 1.5}, "momentum must be in"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ALBEF(**TINY | changes)


def test_inputs_that_do_not_fit_are_refused(model: ALBEF) -> None:
    with pytest.raises(ValueError, match=r"images are \(224, 224\) pixels but this model takes 256"):
        model.encode_image(torch.zeros(1, 3, 224, 224))
    with pytest.raises(ValueError, match="65 tokens is longer than the 64 positions"):
        model.encode_text(torch.ones(1, 65, dtype=torch.long), torch.ones(1, 65))
