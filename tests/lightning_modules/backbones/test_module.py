"""Grounding and matching of methods on a backbone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from datamodules.batches import PhraseBatch
from lightning_modules.errors import ModelError
from lightning_modules.hist.module import HISTFinetune
from networks.layers.class_activation import minmax
from tests.lightning_modules.conftest import (
    NETWORKS,
    TEXT,
    gradients,
    tiny_network,
)
from tests.lightning_modules.hist.one_by_one import (
    Build,
    counted,
    map_options,
    one_by_one,
)

QUERIES = ["a red dog", "the small tree on the left of the old car", "hat", "", "the tall man", "a red dog"]
IMAGE_OF_QUERY = torch.tensor([1, 0, 0, 2, 2, 0])


@pytest.fixture(params=NETWORKS, ids=lambda backbone: backbone.__name__)
def backbone_class(request: pytest.FixtureRequest) -> Any:
    """Each published backbone."""
    return request.param


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TestGround:
    def test_is_the_scaled_map_of_each_phrase_alone(self, build: Build, images: Tensor) -> None:
        module = build(HISTFinetune).eval()
        maps = module.ground(images, QUERIES, IMAGE_OF_QUERY)
        assert maps.shape == (6, 4, 4)
        assert maps.dtype == torch.float32
        assert maps.min() >= 0
        assert maps.max() <= 1
        assert_close(maps.flatten(1).amin(dim=1), torch.zeros(6))
        alone = one_by_one(module, PhraseBatch(images, [], [], [], []), 0.0)
        alone.network = module.network
        for query, (phrase, image) in enumerate(zip(QUERIES, IMAGE_OF_QUERY.tolist(), strict=True)):
            assert_close(maps[query], minmax(alone.raw_map(phrase, image, 0)).detach(), rtol=1e-4, atol=1e-4)
        assert (maps[0] - maps[5]).abs().max() > 0.01, "the same phrase in two images"

    @pytest.mark.parametrize("queries_per_pass", [1, 4, 6])
    def test_does_not_depend_on_what_else_is_asked(
        self, build: Build, images: Tensor, queries_per_pass: int
    ) -> None:
        together = build(HISTFinetune).eval().ground(images, QUERIES, IMAGE_OF_QUERY)
        module = build(HISTFinetune, backbone=map_options(queries_per_pass=queries_per_pass)).eval()
        calls = counted(module.network)
        assert_close(module.ground(images, QUERIES, IMAGE_OF_QUERY), together, rtol=1e-4, atol=1e-4)
        assert calls["encode_image rows"] == 3
        assert calls["fuse"] == math.ceil(6 / queries_per_pass)

    def test_no_phrases(self, build: Build, images: Tensor) -> None:
        assert build(HISTFinetune).ground(images, [], torch.zeros(0, dtype=torch.long)).shape == (0, 4, 4)

    @pytest.mark.parametrize("gradients_on", [True, False])
    def test_leaves_no_gradient_behind(self, build: Build, images: Tensor, gradients_on: bool) -> None:
        module = build(HISTFinetune).eval()
        with torch.set_grad_enabled(gradients_on):
            maps = module.ground(images, QUERIES, IMAGE_OF_QUERY)
        assert not maps.requires_grad
        assert maps.amax(dim=(1, 2)).min() > 0.9
        assert not gradients(module)

    def test_in_inference_mode_it_says_what_to_set(self, build: Build, images: Tensor) -> None:
        with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode"):
            build(HISTFinetune).eval().ground(images, QUERIES, IMAGE_OF_QUERY)


def test_match_is_the_cosine_of_every_image_with_every_text(build: Build, images: Tensor) -> None:
    module = build(HISTFinetune, backbone={"max_tokens": 4}).eval()
    texts = ["a red dog on the left", "a red dog on the hat"]
    similarities = module.match(images, texts)
    assert similarities.shape == (3, 2)
    network = module.network
    for n in range(3):
        for m, text in enumerate(texts):
            tokens = module.backbone.tokenizer([text])
            image = network.image_feature(network.encode_image(images[n : n + 1]))
            words = network.text_feature(network.encode_text(*tokens))
            assert similarities[n, m].item() == pytest.approx((image @ words.t()).item(), abs=1e-5)
    assert not similarities.requires_grad


def test_vocabulary_and_network_must_agree(build: Build, backbone_class: Any) -> None:
    known = tiny_network(backbone_class).vocab_size
    with pytest.raises(ModelError, match=f"has {known} tokens and the network's text.vocab_size is 99"):
        build(HISTFinetune, tiny_network(backbone_class, text=replace(TEXT, vocab_size=99)))
