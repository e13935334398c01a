"""Every listed backbone keeps the contract that methods are written against."""

from __future__ import annotations

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.backbones.base import VisionLanguageBackbone
from lightning_modules.catalogue import BACKBONES
from lightning_modules.pretraining.module import VisionLanguagePretrain
from tests.lightning_modules.conftest import train_step
from tests.tiny import tiny_of

CAPTIONS = ["a red square", "a small circle", "a blue star"]
PHRASES = ["the star", "a circle", "a red square", "a square"]


@pytest.fixture(params=BACKBONES, ids=lambda backbone: backbone.__name__)
def module(request: pytest.FixtureRequest) -> VisionLanguagePretrain:
    """Pre-training on a listed backbone."""
    torch.manual_seed(0)
    parser = ArgumentParser()
    parser.add_subclass_arguments(VisionLanguageBackbone, "backbone")
    parsed = parser.parse_object({"backbone": tiny_of(request.param)})
    return VisionLanguagePretrain(parser.instantiate_classes(parsed).backbone)


def images_for(module: VisionLanguagePretrain) -> torch.Tensor:
    side = module.preprocessing.image_size
    return torch.randn(len(CAPTIONS), 3, side, side, generator=torch.Generator().manual_seed(0))


def test_it_learns_from_images_and_captions(module: VisionLanguagePretrain) -> None:
    batch = ImageTextBatch(images_for(module), CAPTIONS, ["a", "b", "c"])
    loss, terms = train_step(module.train(), batch)
    assert {"itc", "itm", module.backbone.language_term} <= set(terms)
    loss.backward()
    assert any(parameter.grad is not None for parameter in module.parameters())


def test_it_grounds_phrases_at_its_own_grid(module: VisionLanguagePretrain) -> None:
    image_of_query = torch.tensor([2, 1, 0, 0])
    maps = module.eval().ground(images_for(module), PHRASES, image_of_query)
    assert maps.shape == (len(PHRASES), *module.backbone.grid)
    assert maps.dtype == torch.float32
    assert 0 <= maps.min() <= maps.max() <= 1
    assert module.ground(images_for(module), [], image_of_query[:0]).shape == (0, *module.backbone.grid)


def test_it_compares_images_with_texts(module: VisionLanguagePretrain) -> None:
    similarities = module.eval().match(images_for(module), PHRASES)
    assert similarities.shape == (len(CAPTIONS), len(PHRASES))
    assert similarities.abs().max() <= 1 + 1e-5


def test_a_second_look_is_that_at_single_pairs(module: VisionLanguagePretrain) -> None:
    features, tokens = module.eval().embed_images(images_for(module))
    similarities = features @ module.embed_texts(PHRASES).t()
    assert_close(similarities, module.match(images_for(module), PHRASES), rtol=1e-4, atol=1e-5)
    image_of_text = [2, 0, 0, 1]
    scores = module.match_scores(tokens, PHRASES, torch.tensor(image_of_text))
    for row, image in enumerate(image_of_text):
        alone = module.match_scores(tokens[image : image + 1], [PHRASES[row]], torch.tensor([0]))
        assert_close(scores[row : row + 1], alone, rtol=1e-4, atol=1e-4)
