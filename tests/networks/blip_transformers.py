"""Tiny random models of the transformers library, and ours with their weights, read from its own layout."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.blip import BLIP
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import ViTSize

WORDS = 60
CLS_ID = 1
SEP_ID = 2
DEC_ID = 58
ENC_ID = 59
IDS = torch.tensor([[CLS_ID, 7, 9, 30, SEP_ID], [CLS_ID, 44, SEP_ID, 0, 0]])
MASK = (IDS > 0).long()


def of_kind(first_id: int) -> Tensor:
    """The texts beginning with another special token."""
    ids = IDS.clone()
    ids[:, 0] = first_id
    return ids


@cache
@torch.no_grad()
def theirs(kind: str) -> Any:
    """A model of the library with the official epsilon and heads, which its own defaults are not."""
    library = pytest.importorskip("transformers")
    text = {
        "vocab_size": WORDS,
        "hidden_size": 24,
        "encoder_hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "label_smoothing": 0.1,
        "bos_token_id": DEC_ID,
        "eos_token_id": SEP_ID,
        "sep_token_id": SEP_ID,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "layer_norm_eps": 1e-6,
    }
    config = library.BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=8)
    model = getattr(library, kind)(config).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        norm = name.endswith("weight") and parameter.ndim == 1
        torch.nn.init.normal_(parameter, mean=float(norm), std=0.4)
        if name.endswith("cls.predictions.bias"):
            parameter[SEP_ID] -= 1.3  # or most captions would end at once
    return model


def ours(kind: str) -> BLIP:
    """Our model with the weights of theirs, as far as it has them."""
    model = BLIP(
        ViTSize(image_size=32, patch_size=8, width=16, depth=2, heads=2),
        BertSize(24, 3, 4, intermediate=32, vocab_size=WORDS, max_positions=16),
        ContrastSize(embed_dim=8, queue_size=4),
    )
    result = model.load_state_dict(model.adapt_state_dict(theirs(kind).state_dict()), strict=False)
    assert result.unexpected_keys == []
    return model.eval()
