from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.testing import assert_close

from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.albef_encoder import ALBEFEncoder
from lightning_modules.backbones.options import MapOptions
from lightning_modules.pretraining.module import VisionLanguagePretrain
from tests.lightning_modules.conftest import MAP_LAYERS, WORDS, tiny_network

TEXTS = ["a red dog", "the old man"]


def encoder(tmp_path: Path) -> ALBEFEncoder:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("\n".join(WORDS))
    return ALBEFEncoder(ALBEFBackbone(tiny_network(), vocabulary, maps=MapOptions(layers=MAP_LAYERS))).eval()


def test_it_says_what_the_backbone_says(tmp_path: Path, build: Callable[..., Any]) -> None:
    clip = encoder(tmp_path)
    module = build(VisionLanguagePretrain).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        cosines = clip.encode_images(images) @ clip.encode_texts(TEXTS).t()
    assert_close(cosines, module.match(images, TEXTS))
    maps = clip.relevance(images, TEXTS)
    assert_close(maps, module.ground(images, TEXTS, torch.arange(2)))
    places = clip.encode_places(images)
    assert places.vectors.shape == (2, 4, 4, clip.dim)
    assert_close(places.vectors.norm(dim=-1), torch.ones(2, 4, 4))


def test_it_takes_checkpoints_of_albef(tmp_path: Path) -> None:
    clip = encoder(tmp_path)
    adapted = clip.adapt_state_dict(tiny_network().state_dict())
    assert set(adapted) == set(clip.state_dict())
