"""Small modules, captions and weights of text group discovery."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from datamodules.batches import ImageTextBatch
from lightning_modules.optimisation import Optimisation
from lightning_modules.text_group.module import TextGroupDiscovery
from lightning_modules.text_group.options import TextOptions
from networks.groupvit import GroupViTImageEncoder
from networks.text_group import TextEncoder, TextGroupTransformer, TextSize
from tests.lightning_modules.conftest import WORDS
from tests.networks.test_groupvit import SIZES, official

CAPTIONS = [
    "a red dog",
    "the tall man on the left",
    "a small green car of the old man",
    "hat",
    "the big tree",
    "a blue hat and a cat",
]


SIZE = TextSize(width=16, heads=2, vocab_size=len(WORDS), max_positions=16, embed_dim=8, image_width=10)


def network(kind: type = TextGroupTransformer, **sizes: int) -> Any:
    """A small network whose weights are large enough for captions to differ."""
    torch.manual_seed(0)
    options = {"groups": 3, "group_depth": 1} if kind is TextGroupTransformer else {}
    encoder = kind(depth=2, size=replace(SIZE, **sizes), **options)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    return encoder


def build(
    vocabulary: Path, encoder: TextEncoder | None = None, openers: Path | None = None, **arguments: Any
) -> TextGroupDiscovery:
    """A small module in training mode."""
    text = TextOptions(vocabulary, openers, max_tokens=16)
    return TextGroupDiscovery(encoder or network(), text, **arguments).train()


def batch(rows: int = 6) -> ImageTextBatch:
    vectors = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(vectors[:rows], CAPTIONS[:rows], list("012345")[:rows])


def with_encoder(vocabulary: Path, **arguments: Any) -> TextGroupDiscovery:
    """A module with an image encoder."""
    torch.manual_seed(0)
    encoder = network(image_width=24)
    arguments["image_encoder"] = GroupViTImageEncoder(**SIZES)
    return build(vocabulary, encoder, optimisation=Optimisation(schedule="constant"), **arguments)


class Config(dict):
    """Of a class that the official file's reader does not have."""


def official_file(path: Path, seed: int) -> GroupViTImageEncoder:
    """Writes an encoder's weights as they are published, and returns the encoder."""
    torch.manual_seed(seed)
    encoder = GroupViTImageEncoder(**SIZES)
    config = Config(lr=1, nested=[Config()])
    torch.save({"model": official(encoder.state_dict()), "config": config, "epoch": 1}, path)
    return encoder


def image_batch() -> ImageTextBatch:
    """Captions with images."""
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(images, CAPTIONS, list("012345"))
