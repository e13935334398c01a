"""Numbers of the public codes of MaskCLIP and TCL (with PAMR) on tiny random models, those of TTD's losses,
and our models of that size.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "data" / "ttd"


@cache
def numbers(name: str) -> dict[str, Tensor]:
    """The arrays of ``maskclip_dense``, ``tcl_decoder``, ``pamr`` or ``ttd_losses``."""
    return {key: torch.from_numpy(array) for key, array in np.load(FOLDER / f"{name}.npz").items()}


def tiny_clip() -> Any:
    """A fresh model of open_clip with the parity weights, in evaluation mode."""
    clip = CLIP(**json.loads((FOLDER / "tiny_open_clip_config.json").read_text()))
    clip.load_state_dict(weights("tiny_open_clip_state_dict"), strict=True)
    return clip.eval()


def weights(name: str) -> dict[str, Tensor]:
    """The state dict of a file."""
    return torch.load(FOLDER / f"{name}.pt", weights_only=True)


def tiny_tokenize(texts: list[str]) -> Tensor:
    """Letters as ids up to 99, between a start (118) and an end (119), (M,16)."""
    ids = torch.zeros(len(texts), 16, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        letters = [ord(letter) % 99 + 1 for letter in text[:14]]
        row[: len(letters) + 2] = torch.tensor([118, *letters, 119])
    return ids


def close(ours: Tensor, theirs: Tensor) -> None:
    """Asserts the agreement that the numbers were published with."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
