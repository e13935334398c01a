from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.groupvit import GroupViTImageEncoder, convert_official
from tests.parity import assert_parity

PARITY = Path(__file__).parents[3] / "shared" / "parity" / "groupvit"
SIZES: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "width": 24,
    "heads": 2,
    "depths": (2, 1, 1),
    "group_tokens": (6, 3),
}


@pytest.fixture
def encoder() -> GroupViTImageEncoder:
    torch.manual_seed(0)
    return GroupViTImageEncoder(**SIZES)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference code's names, written down independently of the converter."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("model.vision_model.")
        if re.search(r"layers\.\d+\.self_attn\.[kv]_proj", name):
            continue
        if "self_attn.q_proj" in name:
            value = torch.cat(
                [value, state[key.replace("q_proj", "k_proj")], state[key.replace("q_proj", "v_proj")]]
            )
        for ours, theirs in (
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.layernorm", "patch_embed.norm"),
            ("self_attn.q_proj", "attn.qkv"),
            ("self_attn.out_proj", "attn.proj"),
            ("attn.out_proj", "attn.proj"),
            ("layer_norm", "norm"),
            ("layernorm", "norm"),
            (".layers.", ".blocks."),
            ("encoder.stages.", "layers."),
        ):
            name = name.replace(ours, theirs)
        found[f"img_encoder.{name}"] = value
    return found


def test_official_names_are_understood(encoder: GroupViTImageEncoder, images: Tensor) -> None:
    state = official(encoder.state_dict())
    for name in (
        "patch_embed.norm.weight",
        "layers.0.blocks.1.attn.qkv.bias",
        "layers.1.downsample.pre_assign_attn.attn.proj.weight",
        "layers.1.group_projector.1.fc1.weight",
        "layers.0.downsample.assign.proj.weight",
        "norm.bias",
    ):
        assert f"img_encoder.{name}" in state
    torch.manual_seed(1)
    other = GroupViTImageEncoder(**SIZES)
    assert not torch.allclose(other(images).pooled, encoder(images).pooled)
    content = {
        "model": state
        | {"text_encoder.ln_final.bias": torch.zeros(2), "img_projector.linear_out.bias": torch.zeros(2)},
        "epoch": 3,
    }
    other.load_state_dict(other.adapt_state_dict(content), strict=True)
    for mine, theirs in zip(encoder(images), other(images), strict=True):
        assert torch.equal(mine, theirs)


def test_the_hubs_names_are_understood_with_and_without_the_rest(encoder: GroupViTImageEncoder) -> None:
    vision = {key.removeprefix("model."): value for key, value in encoder.state_dict().items()}
    whole = vision | {"text_model.final_layer_norm.weight": torch.zeros(2), "logit_scale": torch.zeros(())}
    for state in (vision, whole):
        assert encoder.adapt_state_dict(state).keys() == encoder.state_dict().keys()
    with pytest.raises(ValueError, match="no weights of GroupViT"):
        encoder.adapt_state_dict({"visual.conv1.weight": torch.zeros(1)})
    assert convert_official(whole) == {}


def test_it_is_frozen_from_the_start(encoder: GroupViTImageEncoder, images: Tensor) -> None:
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    first = encoder(images).pooled
    assert torch.equal(encoder(images).pooled, first)
    assert not first.requires_grad


def test_maps_are_shares_of_every_patch(encoder: GroupViTImageEncoder, images: Tensor) -> None:
    found = encoder(images)
    assert found.maps.shape == (2, 3, 4, 4)
    assert_close(found.maps.sum(1), torch.ones(2, 4, 4))
    assert_close(found.pooled, found.groups.mean(1))


def test_another_size_is_refused(encoder: GroupViTImageEncoder) -> None:
    with pytest.raises(ValueError, match="takes 32 x 32"):
        encoder(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="divide"):
        GroupViTImageEncoder(**(SIZES | {"patch_size": 7}))


@pytest.mark.real_data
@pytest.mark.skipif(not PARITY.is_dir(), reason="needs ../shared/parity")
@pytest.mark.parametrize("name", ["tiny_hf_state_dict.pt", "tiny_official_state_dict.pt"])
def test_equal_to_the_reference_code(encoder: GroupViTImageEncoder, name: str) -> None:
    config = json.loads((PARITY / "tiny_hf_config.json").read_text())["vision_config"]
    assert config["hidden_size"] == SIZES["width"]
    encoder.load_state_dict(
        encoder.adapt_state_dict(torch.load(PARITY / name, weights_only=True)), strict=True
    )
    reference = {
        key: torch.from_numpy(value) for key, value in np.load(PARITY / "tiny_hf_outputs.npz").items()
    }
    reference["maps"] = reference["stage1_soft"] @ reference["stage0_soft"]

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        groups = encoder.to(dtype)(reference["pixel_values"].to(dtype))
        return {
            "vision_pooled": groups.pooled,
            "vision_last_hidden": groups.groups,
            "maps": groups.maps.flatten(2),
        }

    assert_parity(numbers, reference)
