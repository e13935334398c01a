"""Maps of padded images are cut back to the images."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from torch import Tensor

from callbacks.heatmaps import model_heatmaps
from datamodules.batches import GroundingBatch

TRAINER = SimpleNamespace(precision_plugin=SimpleNamespace(forward_context=nullcontext))


class Bright:
    """Finds every phrase where its image is bright."""

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        return images[image_of_query].mean(dim=1)


def batch(extents: Tensor | None) -> GroundingBatch:
    """An image of 8 x 8, bright in its last column, on a canvas of 8 x 16; another fills the canvas."""
    images = torch.zeros(2, 3, 8, 16)
    images[0, :, :, 7] = 1.0
    images[1, :, 0] = 1.0
    return GroundingBatch(
        images=images,
        phrases=["the edge", "the top", "the edge"],
        image_of_query=torch.tensor([0, 1, 0]),
        chain_of_query=torch.arange(3),
        boxes=[torch.zeros(0, 4)] * 3,
        sizes=torch.tensor([[8, 8], [8, 16]]),
        image_keys=["a", "b"],
        keys=["0", "1", "2"],
        extents=extents,
    )


def test_a_padded_image_has_its_map_alone() -> None:
    maps = model_heatmaps(TRAINER, Bright(), batch(torch.tensor([[8, 8], [8, 16]])))  # type: ignore[arg-type]
    assert maps.shape == (3, 8, 16)
    assert maps[0, :, 14:].min() > 0.5, "the last column of the image is the end of the map"
    assert maps[0, :, :13].max() == 0
    assert torch.equal(maps[0], maps[2])
    assert torch.allclose(maps[1], batch(None).images[1].mean(dim=0), atol=1e-6)


def test_maps_of_images_without_padding_stay_as_they_are() -> None:
    maps = model_heatmaps(TRAINER, Bright(), batch(None))  # type: ignore[arg-type]
    assert torch.equal(maps[0], batch(None).images[0].mean(dim=0))
