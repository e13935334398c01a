from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from networks.clip import OpenCLIP
from networks.clip_dense import tokens_before_last_block
from tests.networks.gpp_parity import TokenCLIP, arrays, clip_images, numbers
from tests.parity import assert_parity

SMALL: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
}
TEXTS = ["0", "1", "2", "3"]


@pytest.fixture
def clip() -> OpenCLIP:
    torch.manual_seed(0)
    return OpenCLIP(sizes=SMALL).eval()


def test_names_are_those_of_openais_files() -> None:
    shapes = {name: list(value.shape) for name, value in TokenCLIP().model.state_dict().items()}
    assert shapes == numbers("tiny_clip_shapes.json")["shapes"]


def test_logits_and_relevance_are_those_of_the_public_code() -> None:
    reference = arrays("gae.npz")

    def compute(dtype: torch.dtype) -> dict[str, Tensor]:
        clip = TokenCLIP().to(dtype)
        images = clip_images().to(dtype)
        with torch.no_grad():
            cosines = clip.encode_images(images) @ clip.encode_texts(TEXTS).t()
            tokens, _ = tokens_before_last_block(clip.model.visual, images)
            attention = clip.last_attention(tokens)
        return {
            "logits_per_image": clip.model.logit_scale.exp().detach() * cosines,
            "attn_last": attention[3],
            "cam": clip.relevance(images, TEXTS)[:, ::7, ::7],
        }

    assert_parity(compute, reference)


def test_relevance_is_the_gradient_of_the_whole_model(clip: OpenCLIP) -> None:
    """Blocks by open_clip, but for the explicit attention of the last one."""
    images = torch.randn(2, 3, 32, 32)
    maps = clip.relevance(images, ["a dog", "the red car"])
    assert maps.shape == (2, 32, 32)
    assert not maps.requires_grad
    assert_close(maps.amin((1, 2)), torch.zeros(2))
    assert_close(maps.amax((1, 2)), torch.ones(2))
    with torch.no_grad():
        tokens, _ = tokens_before_last_block(clip.model.visual, images)
        by_hand = clip.vectors_of_attention(tokens, clip.last_attention(tokens))
        assert_close(by_hand, clip.encode_images(images))
        assert_close(by_hand, F.normalize(clip.model.encode_image(images), dim=1))


def test_vectors_have_length_one_and_images_keep_their_gradients(clip: OpenCLIP) -> None:
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    vectors = clip.encode_images(images)
    (vectors @ clip.encode_texts(["a dog"]).detach().t()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    places = clip.encode_places(images)
    assert places.vectors.shape == (2, 4, 4, 8)
    assert places.weights.shape == (2, 4, 4)
    for unit in (vectors, clip.encode_texts(["a", "b"]), places.vectors):
        assert_close(unit.norm(dim=-1), torch.ones(unit.shape[:-1]))


def test_texts_that_are_too_long_are_cut(clip: OpenCLIP) -> None:
    long = "a dog " * 50
    assert_close(clip.encode_texts([long]), clip.encode_texts([long + "and a cat"]))


def test_official_layouts(clip: OpenCLIP) -> None:
    plain = dict(clip.model.state_dict())
    openai = plain | {"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(1)}
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in plain.items()}}
    for state in (openai, wrapped, clip.state_dict()):
        assert set(clip.adapt_state_dict(state)) == set(clip.state_dict())


def test_what_there_is_not() -> None:
    with pytest.raises(ValueError, match="no model 'ViT-Z'"):
        OpenCLIP("ViT-Z")
    resnet = {**SMALL, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
    with pytest.raises(ValueError, match="vision transformer of CLIP's form"):
        OpenCLIP("RN-tiny", sizes=resnet)
    averaged = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "pool_type": "avg"}}
    with pytest.raises(ValueError, match="no class token whose attention"):
        OpenCLIP("ViT-tiny", sizes=averaged)


def test_images_of_another_size(clip: OpenCLIP) -> None:
    images = torch.randn(1, 3, 40, 48)
    assert clip.encode_images(images).shape == (1, 8)
    assert clip.encode_places(images).vectors.shape == (1, 5, 6, 8)
    assert clip.relevance(images, ["a dog"]).shape == (1, 40, 48)
