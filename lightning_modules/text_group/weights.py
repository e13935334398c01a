"""Weights of GroupViT's image encoder from the files in which they are published."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.errors import ModelError
from lightning_modules.loading import read_weights
from networks.groupvit import GroupViTImageEncoder


def read_image_weights(encoder: GroupViTImageEncoder, path: Path) -> str:
    """Reads the encoder's weights from a file of the hub or an official one, and says what was read.

    Raises:
        ModelError: no such file, another kind of file, or weights of another model or size.
    """
    content = read_weights(path)
    try:
        state = encoder.adapt_state_dict(content)
        missing, unexpected = encoder.load_state_dict(state, strict=False)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    if missing:
        raise ModelError(
            f"{path}: {len(missing)} tensors of the image encoder are missing, the first is {missing[0]}."
        )
    return f"{path}: {len(state) - len(unexpected)} tensors of the image encoder read, {len(unexpected)} unexpected"
