from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.testing import assert_close

from networks.clip_dense import DenseCLIP
from networks.layers.lora import (
    LoRAOptions,
    adapted_layers,
    add_adapters,
    merge_adapters,
)
from networks.tcl import TCL
from tests.networks.ttd_parity import numbers, tiny_clip, tiny_tokenize

pytest.importorskip("peft")
IMAGES = numbers("maskclip_dense")["sq_image"].double()
TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj", "conv.conv", "conv2.conv", "conv1")


def tcl(**options: Any) -> TCL:
    torch.manual_seed(0)
    model = TCL(tiny_clip(), tiny_tokenize)
    for name, parameter in model.masker.named_parameters():
        if name.endswith("gate.gate"):
            nn.init.constant_(parameter, 0.5)
    add_adapters(model, LoRAOptions(rank=3, alpha=6, **options))
    return model.double().eval()


@torch.no_grad()
def trained(model: nn.Module) -> None:
    for _, layer in adapted_layers(model):
        nn.init.normal_(layer.lora_B["default"].weight, std=0.1)


def outputs(model: TCL) -> tuple[Tensor, Tensor]:
    """What both towers say; `masks` takes the frozen branch's last block in, too."""
    with torch.no_grad():
        texts = model.encode_texts(["a dog", "cat"])
        return model.masks(IMAGES, texts), texts


@pytest.mark.parametrize("target", TARGETS)
def test_merged_is_unmerged_is_the_sum(target: str) -> None:
    model = tcl(targets=(target,))
    before = outputs(model)
    trained(model)
    names = [name for name, _ in adapted_layers(model)]
    unmerged = outputs(model)
    assert max((now - then).abs().max() for now, then in zip(unmerged, before, strict=True)) > 1e-4
    sums = {name: summed(layer) for name, layer in adapted_layers(model)}
    for _, layer in adapted_layers(model):
        layer.merge()
    assert_close(outputs(model), unmerged, rtol=1e-9, atol=1e-9)
    for _, layer in adapted_layers(model):
        layer.unmerge()
    merge_by_hand(model, sums)
    assert_close(outputs(model), unmerged, rtol=1e-9, atol=1e-9)
    assert names
    assert not list(adapted_layers(model))


def summed(layer: Any) -> Tensor:
    """W + s B A, by einsum rather than by peft."""
    down = layer.lora_A["default"].weight.detach()
    up = layer.lora_B["default"].weight.detach()
    added = torch.einsum("or,r...->o...", up.flatten(1), down)
    return layer.get_base_layer().weight.detach() + 2 * added  # 6 / 3


def merge_by_hand(model: nn.Module, sums: dict[str, Tensor]) -> None:
    for name, weight in sums.items():
        parent, _, child = name.rpartition(".")
        layer: Any = model.get_submodule(name)
        base = layer.get_base_layer()
        base.weight.data = weight
        setattr(model.get_submodule(parent), child, base)


def test_export_has_official_names_and_the_same_numbers() -> None:
    model = tcl()
    trained(model)
    before = outputs(model)
    merge_adapters(model)
    assert_close(outputs(model), before, rtol=1e-9, atol=1e-9)
    assert set(model.state_dict()) == set(TCL(tiny_clip(), tiny_tokenize).state_dict())


def test_only_adapters_are_trained() -> None:
    model = tcl()
    trained(model)
    assert all(".lora_" in name for name, each in model.named_parameters() if each.requires_grad)
    masks = model.masks(IMAGES, model.encode_texts(["a dog"]))
    masks.sum().backward()
    without = {name for name, each in model.named_parameters() if each.requires_grad and each.grad is None}
    # Queries do not matter where a token attends to itself only.
    assert {name.partition(".attn.")[0].rpartition(".")[2] for name in without} == {"2"}
    assert all(".q_proj." in name for name in without)
    assert "masker.image_encoder.decoder.decoder.net.0.conv.conv.lora_A.default.weight" in model.state_dict()
    with pytest.raises(ValueError, match="no layer of DenseCLIP"):
        add_adapters(DenseCLIP(tiny_clip(), tiny_tokenize), LoRAOptions(targets=("fc",)))


@pytest.mark.parametrize(("build", "added", "total"), [(DenseCLIP, 614_400, 150.2), (TCL, 952_320, 179.3)])
def test_counts_are_those_of_the_paper(build: Any, added: int, total: float) -> None:
    parts = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
    config = open_clip.get_model_config("ViT-B-16-quickgelu")
    with torch.device("meta"):
        model = build(CLIP(**{part: config[part] for part in parts}), lambda texts: Tensor())
        add_adapters(model, LoRAOptions())
    trainable = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert trainable == added
    assert round(sum(each.numel() for each in model.parameters()) / 1e6, 1) == total
