"""Numbers of the public code of g (talshaharabany/what-is-where-by-looking 709c25c) and of the CLIP in it,
and our networks with the same weights, which follow from their names.
"""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.clip import OpenCLIP

FOLDER = Path(__file__).parents[1] / "data" / "gpp"
TINY_CLIP: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 128, "head_width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 512, "width": 64, "heads": 2, "layers": 2},
    "quick_gelu": True,
}


@cache
def arrays(name: str) -> dict[str, Tensor]:
    """The arrays of a file."""
    return {key: torch.from_numpy(array) for key, array in np.load(FOLDER / name).items()}


def numbers(name: str) -> Any:
    """The content of a JSON file."""
    return json.loads((FOLDER / name).read_text())


@cache
def weight_of(name: str, shape: tuple[int, ...]) -> Tensor:
    """The weight of that name in all parity files."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name == "logit_scale":
        return torch.tensor(math.log(1 / 0.07))
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    z = random.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        weight = 0.1 * np.abs(z) + 0.9
    elif z.ndim == 1 and name.endswith("weight"):
        weight = 1 + 0.1 * z
    elif z.ndim <= 1:
        weight = 0.1 * z
    elif "embedding" in name:
        weight = 0.5 * z
    elif name.endswith("proj"):
        weight = z / np.sqrt(shape[0])
    else:
        gain = np.sqrt(2) if z.ndim == 4 else 1
        weight = z * gain / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(weight, dtype=np.float32))


def fill(module: nn.Module, prefix: str = "") -> None:
    """Gives a module the weights of its names, in its own precision."""
    state = module.state_dict()
    module.load_state_dict(
        {name: weight_of(f"{prefix}{name}", tuple(value.shape)) for name, value in state.items()}
    )


class TokenCLIP(OpenCLIP):
    """The tiny CLIP of the parity files, whose texts are the numbers of their token rows."""

    def __init__(self) -> None:
        super().__init__(sizes=TINY_CLIP)
        fill(self.model)
        self.eval()

    def encode_texts(self, texts: Any) -> Tensor:
        return self.encode_tokens(arrays("gae.npz")["tokens"][[int(text) for text in texts]])


def clip_images() -> Tensor:
    """(4,3,224,224), what the tiny CLIP was shown."""
    small = arrays("gae.npz")["image_14"]
    return F.interpolate(small, size=224, mode="bilinear", align_corners=False)
