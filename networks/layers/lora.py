"""LoRA on the towers of a CLIP: small matrices beside the weights are trained in place of the weights.

Hu et al. 2021, arXiv:2106.09685; the layers are those of peft. A linear layer's weight W becomes W + s B A. A
convolution gets another beside it, of its own size with few channels, followed by one of 1 x 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from networks.layers.split_attention import fuse_all, split_all

ADAPTER = "default"  # peft's name of the only adapter, which every parameter's name holds


@dataclass(frozen=True)
class LoRAOptions:
    """Which layers are adapted, and how.

    The defaults give the parameter counts that TTD prints, 150.2 M for MaskCLIP and 179.3 M for TCL.

    Args:
        rank: of the added matrices.
        alpha: the added matrices are scaled by alpha / rank.
        dropout: before them.
        targets: ends of the names of the layers: ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` of
            attention, ``c_fc`` and ``c_proj`` of MLPs, ``conv.conv`` and ``conv2.conv`` of TCL's decoder.
            What a network does not have is passed over.
    """

    rank: int = 10
    alpha: float = 10.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj", "conv.conv", "conv2.conv")


def add_adapters(network: nn.Module, options: LoRAOptions) -> None:
    """Adds adapters in place and freezes all else. Attention is split into linear layers first.

    Args:
        network: a `networks.clip_dense.DenseCLIP`, a `networks.tcl.TCL`, or a part of them.
        options: see there.

    Raises:
        ValueError: no layer is adapted.
    """
    from peft import LoraConfig, inject_adapter_in_model

    split_all(network)
    ends = [name for name, _ in network.named_modules() if _is_target(name, options.targets)]
    if not ends:
        raise ValueError(f"no layer of {type(network).__name__} has a name that ends with {options.targets}.")
    network.requires_grad_(False)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]  # (it is only divided)
        lora_dropout=options.dropout,
        target_modules=ends,
    )
    inject_adapter_in_model(config, network, ADAPTER)


def merge_adapters(network: nn.Module) -> None:
    """Adds the adapters to the weights for good, in place; names become the official ones again."""
    for path, layer in list(adapted_layers(network)):
        layer.merge()
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, layer.get_base_layer())
    fuse_all(network)


def adapted_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and layers (peft's ``LoraLayer``) that are adapted."""
    for name, module in network.named_modules():
        if _is_adapted(module):
            yield name, module


def _is_adapted(module: nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "get_base_layer")


def _is_target(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)
