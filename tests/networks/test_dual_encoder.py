"""The dual encoder: its contract, its maps, and features that can be stored."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from networks.dual_encoder import PlaceMaps, at_scale
from networks.image_text_encoder import ImageTextEncoder
from tests.lightning_modules.alignment.tiny import TinyEncoder

TEXTS = ["a red ball", "a dog", "a tall tree"]


@pytest.fixture(params=[(1, (32,)), (2, (16, 32))], ids=["one tower", "two towers, two strides"])
def encoder(request: pytest.FixtureRequest) -> TinyEncoder:
    towers, strides = request.param
    encoder = TinyEncoder(towers, strides).eval()
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "heads" in name and weight.ndim > 1:
                weight.normal_(std=0.3)
    return encoder


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_contract(encoder: TinyEncoder, images: torch.Tensor) -> None:
    assert isinstance(encoder, ImageTextEncoder)
    grid = 64 // encoder.strides[0]
    places = encoder.encode_places(images)
    assert places.vectors.shape == (2, grid, grid, encoder.dim)
    for vectors in (places.vectors, encoder.encode_images(images), encoder.encode_texts(TEXTS)):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]))
    torch.testing.assert_close(places.weights.mean((1, 2)), torch.ones(2))


def test_images_can_be_differentiated(encoder: TinyEncoder, images: torch.Tensor) -> None:
    images.requires_grad_()
    (encoder.encode_images(images) @ encoder.encode_texts(TEXTS).T).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_stored_features_give_the_same_places(encoder: TinyEncoder, images: torch.Tensor) -> None:
    with torch.no_grad():
        features = encoder.features(images)
        rows = encoder.flatten(features)
        assert rows.shape == (2, encoder.feature_numbers(64))
        assert rows.dtype == torch.float16
        stored = encoder.places(encoder.unflatten(rows, 64))
        torch.testing.assert_close(stored, encoder.places(features), rtol=1e-2, atol=1e-2)


def test_maps_are_sums_of_weighted_cosines(encoder: TinyEncoder, images: torch.Tensor) -> None:
    """One image after the other, and one text after the other, as the docstring says it."""
    image_of_text = torch.tensor([1, 0, 1])
    maps = encoder.heatmaps(images, TEXTS, image_of_text)
    grid = 64 // encoder.strides[0]
    for text, image, heatmap in zip(TEXTS, image_of_text.tolist(), maps, strict=True):
        total = torch.zeros(grid, grid)
        for scale in encoder.maps.scales:
            vectors = encoder.places(encoder.features(at_scale(images[image : image + 1], scale)))[0]
            lengths = vectors.norm(dim=-1)
            cosines = F.cosine_similarity(vectors, encoder.encode_texts([text])[0], dim=-1).clamp(min=0)
            weighted = cosines * (lengths / lengths.mean()) ** 0.35
            total += F.interpolate(weighted[None, None], size=(grid, grid), mode="bicubic")[0, 0]
        total = total.clamp(min=0)
        torch.testing.assert_close(heatmap, total / total.max().clamp(min=1e-6), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(encoder.relevance(images[[1, 0, 1]], TEXTS), maps, rtol=1e-3, atol=1e-4)


def test_mirrored_maps_do_not_depend_on_the_side(images: torch.Tensor) -> None:
    encoder = TinyEncoder(maps=PlaceMaps(scales=(64,), mirrored=True)).eval()
    image_of_text = torch.tensor([0, 1, 1])
    maps = encoder.heatmaps(images, TEXTS, image_of_text)
    of_mirrored = encoder.heatmaps(images.flip(-1), TEXTS, image_of_text)
    torch.testing.assert_close(of_mirrored.flip(-1), maps, rtol=1e-3, atol=1e-4)


def test_no_texts(images: torch.Tensor) -> None:
    maps = TinyEncoder().heatmaps(images, [], torch.zeros(0, dtype=torch.long))
    assert len(maps) == 0


def test_a_stride_that_the_tower_lacks() -> None:
    with pytest.raises(ValueError, match="has the strides"):
        TinyEncoder(strides=(8, 32))
