"""Numbers of the public BLIP code (salesforce/BLIP) on a tiny random model, and our model of that size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks.blip import BLIP
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import ViTSize

FOLDER = Path(__file__).parents[1] / "data" / "blip"
TINY: dict[str, Any] = {
    "vision": ViTSize(image_size=64, width=36, depth=3, heads=4),
    "text": BertSize(width=48, intermediate=96, vocab_size=300, max_positions=64, dropout=0.0),
    "contrast": ContrastSize(embed_dim=16, queue_size=32),
}
CLS_ID = 101
SEP_ID = 102
ENC_ID = 298
DEC_ID = 299


@cache
def state_dict() -> dict[str, Tensor]:
    """The official tensors of encoders, projections and matching head."""
    return _tensors("state_dict.npz")


@cache
def outputs() -> dict[str, Tensor]:
    """``image`` (3,3,64,64), ``ids_enc``, ``ids_cls`` and ``att`` (3,5), and what the reference says."""
    return _tensors("outputs.npz")


def tiny_blip() -> BLIP:
    """A fresh model with the parity weights, in evaluation mode; its decoder's own weights are random."""
    torch.manual_seed(0)
    model = BLIP(**TINY)
    model.load_state_dict(model.adapt_state_dict(state_dict()), strict=False)
    return model.eval()


def _tensors(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(array) for key, array in np.load(FOLDER / name).items()}
