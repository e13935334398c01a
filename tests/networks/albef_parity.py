"""Numbers of the public ALBEF code (salesforce/ALBEF b9727e4) on a tiny random model, and our model of that
size.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks.albef import ALBEF
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import ViTSize

FOLDER = Path(__file__).parents[1] / "data" / "albef"
TINY: dict[str, Any] = {
    "vision": ViTSize(width=36, depth=3, heads=4),
    "text": BertSize(width=48, intermediate=64, vocab_size=300, max_positions=64, dropout=0.0),
    "contrast": ContrastSize(embed_dim=16, queue_size=32),
}
MAP_LAYERS = (8,)  # the 9th layer, as in all public code


def tiny_sizes(part: str, **changes: Any) -> dict[str, Any]:
    """The parity model's sizes, changed in one part."""
    return TINY | {part: replace(TINY[part], **changes)}


@cache
def state_dict() -> dict[str, Tensor]:
    """The official 628 tensors. The file holds the float tensors end to end as four byte planes, and tied
    tensors once.
    """
    packed = np.load(FOLDER / "state_dict.npz")
    flat = torch.from_numpy(np.ascontiguousarray(packed["planes"].T).view(np.float32).ravel())
    layout = json.loads(str(packed["layout"]))
    integers = json.loads(str(packed["integers"]))
    state: dict[str, Tensor] = {}
    start = 0
    for name, (dtype, shape) in layout.items():
        if ".decoder." in name:
            owner = (
                "bert.embeddings.word_embeddings.weight"
                if name.endswith("weight")
                else "cls.predictions.bias"
            )
            state[name] = state[f"{name.split('.')[0]}.{owner}"]
        elif dtype == "int64":
            state[name] = torch.tensor(integers[name])
        else:
            count = int(np.prod(shape))
            state[name] = flat[start : start + count].reshape(shape)
            start += count
    return state


@cache
def inputs() -> dict[str, Tensor]:
    """``images`` (4,3,256,256) normalised, and ``ids_*``, ``att_*`` of the phrases i, j and of "i and j";
    ``mlm_ids``, ``mlm_labels`` (4,7).
    """
    tensors = _tensors("inputs.npz")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    return tensors | {"images": (tensors["image_u8"] / 255 - mean) / std}


@cache
def outputs() -> dict[str, Tensor]:
    """Forward numbers, losses, gradients (``add_grad::``, ``train_grad::``), the state ``after::`` a step,
    and ``selfeq::vl_*`` losses.
    """
    return _tensors("outputs.npz")


def tiny_albef() -> ALBEF:
    """A fresh model with the parity weights, in evaluation mode."""
    model = ALBEF(**TINY)
    model.load_state_dict(state_dict(), strict=True)
    return model.eval()


def forward_numbers(model: ALBEF) -> dict[str, Tensor]:
    """What encoders, projections, fusion and matching head say, under its names in `outputs`."""
    image_embeds = model.encode_image(inputs()["images"].to(model.temp.dtype))
    ids = inputs()["ids_i"]
    mask = inputs()["att_i"]
    text_embeds = model.encode_text(ids, mask)
    numbers = {
        "image_embeds_first": image_embeds[:1],
        "image_feat": model.image_feature(image_embeds),
        "text_embeds_i": text_embeds,
        "text_feat_i": model.text_feature(text_embeds),
        "fusion_i": model.fuse(text_embeds, mask, image_embeds).hidden,
    }
    for name in ("i", "j", "ij"):
        ids = inputs()[f"ids_{name}"]
        mask = inputs()[f"att_{name}"]
        hidden = model.fuse(model.encode_text(ids, mask), mask, image_embeds).hidden
        numbers[f"itm_logits_{name}"] = model.match_logits(hidden)
    return numbers


def _tensors(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(array) for key, array in np.load(FOLDER / name).items()}
