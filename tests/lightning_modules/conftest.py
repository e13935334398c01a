"""Tiny modules, and one training step of them without a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.blip import BLIPBackbone
from lightning_modules.backbones.momentum import MomentumBackbone
from lightning_modules.backbones.options import MapOptions
from networks.albef import ALBEF
from networks.blip import BLIP
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize, MomentumContrast
from networks.layers.vit import ViTSize

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "and",
    "the",
    "of",
    "on",
    "left",
    "red",
    "green",
    "blue",
    "small",
    "big",
    "tall",
    "old",
]
WORDS += ["man", "dog", "cat", "car", "tree", "hat"]
TEXT = BertSize(
    width=16, depth=4, heads=2, intermediate=24, vocab_size=len(WORDS), max_positions=32, dropout=0.0
)
NETWORK: dict[str, Any] = {
    "vision": ViTSize(image_size=32, patch_size=8, width=16, depth=2, heads=2),
    "contrast": ContrastSize(embed_dim=8, queue_size=6),
}
# A backbone of one network -> that network, and the sizes of that alone.
NETWORKS: dict[type[MomentumBackbone], tuple[type[MomentumContrast], dict[str, Any]]] = {
    ALBEFBackbone: (ALBEF, {"text": TEXT, "fusion_layer": 2}),
    BLIPBackbone: (BLIP, {"text": replace(TEXT, vocab_size=len(WORDS) + 2)}),
}
MAP_LAYERS = (2, 3)


def tiny_network(backbone_class: type[MomentumBackbone] = ALBEFBackbone, **changes: Any) -> Any:
    """Large weights, so that maps and similarities differ from text to text; twins that are no copies.

    Args:
        backbone_class: the backbone that it is for.
        changes: parts of other sizes, e.g. ``contrast=ContrastSize(embed_dim=4, queue_size=6)``.
    """
    torch.manual_seed(0)
    network_class, sizes = NETWORKS[backbone_class]
    network = network_class(**(NETWORK | sizes | changes))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.25)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
    return network


@pytest.fixture
def backbone_class() -> type[MomentumBackbone]:
    """The backbone that modules are built upon; tests that are to run on all of them say so."""
    return ALBEFBackbone


@pytest.fixture
def build(tmp_path: Path, backbone_class: type[MomentumBackbone]) -> Callable[..., Any]:
    """``build(cls, network=None, words=WORDS, backbone={}, **arguments)``: a module in training mode.

    ``backbone`` holds options of its backbone.
    """

    def factory(
        cls: type,
        network: MomentumContrast | None = None,
        words: list[str] = WORDS,
        backbone: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Any:
        vocabulary = tmp_path / f"vocabulary{len(words)}.txt"
        vocabulary.write_text("\n".join(words))
        options = {"maps": MapOptions(layers=MAP_LAYERS)} if network is None else {}
        built = backbone_class(
            network or tiny_network(backbone_class), vocabulary, **options | (backbone or {})
        )  # type: ignore[arg-type]
        return cls(built, **arguments).train()

    return factory


def train_step(
    module: Any, batch: Any, epochs: float = 0.0, batch_idx: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one training step ``epochs`` after the start, and the terms that it logs."""
    progress = SimpleNamespace(
        batch_progress=SimpleNamespace(current=SimpleNamespace(processed=round(epochs % 1 * 100)))
    )
    module.trainer = SimpleNamespace(
        world_size=1,
        accumulate_grad_batches=1,
        current_epoch=int(epochs),
        global_step=0,
        num_training_batches=100,
        fit_loop=SimpleNamespace(epoch_loop=progress),
    )
    logged: dict[str, Tensor] = {}
    module.log_dict = lambda values, **_: logged.update(values)
    module.log = lambda name, value, **_: logged.update({name: value})
    loss = module.training_step(batch, batch_idx)
    return loss, {name.removeprefix("train/"): value for name, value in logged.items()}


def quiet_trainer(**options: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", devices=1, **quiet, **options)


def fit(module: pl.LightningModule, batches: list[Any], **options: Any) -> pl.Trainer:
    """Trains on ready-made batches with a real trainer, which is returned."""
    trainer = quiet_trainer(**options)
    trainer.fit(module, DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch))
    return trainer


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None
    }


@pytest.fixture
def first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard negatives without chance: the likeliest one."""
    monkeypatch.setattr(torch, "multinomial", lambda weights, samples: weights.argmax(dim=1, keepdim=True))
