from __future__ import annotations

import re
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from networks.clip_dense import DenseCLIP
from networks.dense_encoder import cosines
from networks.tcl import TCL, GatedDecoder, Sim2Mask, mix_kept
from tests.networks.ttd_parity import close, numbers, tiny_clip, tiny_tokenize, weights

REFERENCE = numbers("tcl_decoder")
IMAGES = numbers("maskclip_dense")["rect_image"]


@torch.no_grad()
def test_decoder_and_masks_are_those_of_the_reference_code() -> None:
    decoder = GatedDecoder(32)
    decoder.load_state_dict(weights("tcl_gdecoder_c32_state_dict"), strict=True)
    close(decoder(REFERENCE["x"]), REFERENCE["y"])
    soft = Sim2Mask()(REFERENCE["sim"])
    close(soft, REFERENCE["soft_mask"])
    close(mix_kept(soft, REFERENCE["kp_sim"], 0.3), REFERENCE["mixed"])
    close(mix_kept(soft, REFERENCE["kp_sim"], 1.0), REFERENCE["kp_mask_up"])


@pytest.fixture
def model() -> TCL:
    torch.manual_seed(0)
    tcl = TCL(tiny_clip(), tiny_tokenize)
    for name, parameter in tcl.masker.named_parameters():
        if name.endswith("gate.gate"):
            nn.init.constant_(parameter, 0.5)
    return tcl.eval()


@torch.no_grad()
def test_a_closed_gate_upsamples_maskclip(model: TCL) -> None:
    clip = DenseCLIP(tiny_clip(), tiny_tokenize)
    opened = model.encode_pixels(IMAGES)
    assert opened.shape == (2, 24, 24, 32)
    for name, parameter in model.masker.named_parameters():
        if name.endswith("gate.gate"):
            nn.init.zeros_(parameter)
    expected = F.interpolate(clip.encode_pixels(IMAGES), scale_factor=4)
    assert_close(model.encode_pixels(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert (opened - expected).abs().max() > 1e-2
    assert_close(model.encode_texts(["a dog"]), clip.encode_texts(["a dog"]))


@torch.no_grad()
def test_clips_own_mask_is_mixed_in_after_refinement(model: TCL) -> None:
    texts = model.encode_texts(["a dog", "cat"])
    kept = DenseCLIP(tiny_clip(), tiny_tokenize).masks(IMAGES, texts)
    kept = F.interpolate(kept, (24, 32), mode="bilinear")
    decoded = model.soft_mask(cosines(model.encode_pixels(IMAGES), texts))
    assert_close(model.masks(IMAGES, texts), 0.3 * kept + 0.7 * decoded, rtol=1e-4, atol=1e-5)
    refined = model.masks(IMAGES, texts, refine=lambda images, masks: masks.square())
    assert_close(refined, 0.3 * kept + 0.7 * decoded.square(), rtol=1e-4, atol=1e-5)
    model.kept_share = 0.0
    assert_close(model.masks(IMAGES, texts), decoded)


def official_names(blocks: int) -> set[str]:
    """As ``tcl.pth`` has them, written down from its published code."""
    block = [
        *(f"ln_{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")),
        *(f"attn.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")),
        *(f"mlp.{layer}.{kind}" for layer in ("c_fc", "c_proj") for kind in ("weight", "bias")),
    ]
    gated = ["norm.weight", "norm.bias", "conv.weight", "conv.bias", "gate.gate"]
    encoder = "masker.image_encoder"
    visual = "clip_image_encoder.clip_visual"
    return {
        *(f"{encoder}.backbone.transformer.resblocks.{blocks - 1}.{name}" for name in block),
        *(
            f"{encoder}.decoder.decoder.net.{net}.{conv}.{name}"
            for net in (0, 1)
            for conv in ("conv", "conv2")
            for name in gated
        ),
        *(f"{encoder}.decoder.image_proj.{name}" for name in ("ln.weight", "ln.bias", "proj")),
        "masker.sim2mask.w",
        "masker.sim2mask.b",
        *(f"{visual}.transformer.resblocks.{number}.{name}" for number in range(blocks) for name in block),
        *(f"{visual}.{name}" for name in ("conv1.weight", "class_embedding", "positional_embedding")),
        *(f"{visual}.ln_pre.{kind}" for kind in ("weight", "bias")),
        *(f"clip_image_encoder.clip_proj.{name}" for name in ("ln.weight", "ln.bias", "proj")),
        *(f"clip_text_encoder.{name}" for name in ("token_embedding.weight", "positional_embedding")),
        *(f"clip_text_encoder.ln_final.{kind}" for kind in ("weight", "bias")),
        "clip_text_encoder.text_projection",
    }


def test_names_are_the_official_ones(model: TCL) -> None:
    text_block = re.compile(r"clip_text_encoder\.transformer\.resblocks\.\d+\..+")
    ours = {name for name in model.state_dict() if not text_block.fullmatch(name)}
    assert ours == official_names(blocks=3)
    assert len(model.state_dict()) - len(ours) == 2 * 12


def test_an_official_file_loads_with_and_without_clips_weights(model: TCL) -> None:
    other = TCL(tiny_clip(), tiny_tokenize)
    state: dict[str, Any] = dict(model.state_dict()) | {"tcli_loss.logit_scale": torch.zeros(())}
    other.load_state_dict(other.adapt_state_dict({"model": state, "step": 3}), strict=True)
    assert_close(other.encode_pixels(IMAGES), model.encode_pixels(IMAGES))
    own = {name: tensor for name, tensor in state.items() if not name.startswith("clip_")}
    third = TCL(tiny_clip(), tiny_tokenize)
    third.load_state_dict(third.adapt_state_dict(own), strict=True)
    assert_close(third.encode_pixels(IMAGES), model.encode_pixels(IMAGES))
    with pytest.raises(ValueError, match="no weights of TCL"):
        other.adapt_state_dict({"visual.proj": torch.zeros(1)})


def test_it_has_as_many_parameters_as_the_paper_says() -> None:
    with torch.device("meta"):
        clip = CLIP(**_without_name(open_clip.get_model_config("ViT-B-16-quickgelu")))
        tcl = TCL(clip, lambda texts: Tensor())
    temperatures = 2  # of TCL's own training, not needed
    assert sum(parameter.numel() for parameter in tcl.parameters()) + temperatures == 178_346_248


def _without_name(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in config.items()
        if name in ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    }
