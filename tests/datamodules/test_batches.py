from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from datamodules.batches import (
    GroundingBatch,
    ImageTextBatch,
    Preprocessing,
    RandomWindow,
    denormalise,
    normalise,
    prepare_images,
)
from datamodules.kinds.base import stack
from datamodules.kinds.grounding import Query, collate_queries

HALF = Preprocessing(2, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))


def test_normalise_by_hand() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    assert torch.allclose(normalise(images, HALF).flatten(), torch.tensor([-1.0, 3.0, 0.2]))
    assert normalise(images, HALF).dtype == torch.float32


def test_denormalise_gives_back_the_pixels() -> None:
    preprocessing = Preprocessing(8, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    pixels = torch.randint(0, 256, (1, 3, 6, 8), dtype=torch.uint8)
    image = denormalise(normalise(pixels, preprocessing)[0], preprocessing)
    assert np.array_equal(image, pixels[0].permute(1, 2, 0).numpy())


def query(phrase: str, chain: str, mask: bool = True) -> Query:
    return Query(
        phrase, np.array([[0, 0, 1, 1]]), f"{phrase}-{chain}", chain, np.ones((2, 2), bool) if mask else None
    )


def picture(value: int) -> torch.Tensor:
    return torch.full((3, 2, 2), value, dtype=torch.uint8)


def test_queries_of_images_without_any_are_not_mixed_up() -> None:
    samples = [
        (None, ["a\ttorn"]),
        ((picture(1), [query("x", "1"), query("y", "1"), query("z", "2")], (5, 6), "a"), []),
        (None, ["b/0\tno box"]),
        ((picture(2), [query("v", "1")], (7, 8), "c"), ["c/1\tno box"]),
    ]
    batch = collate_queries(samples)
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2]
    assert batch.image_of_query.tolist() == [0, 0, 0, 1]
    assert batch.chain_of_query.tolist() == [0, 0, 1, 2]  # chain "1" of another image is another chain
    assert batch.sizes.tolist() == [[5, 6], [7, 8]]
    assert batch.image_keys == ["a", "c"]
    assert batch.boxes[0].dtype == torch.float32
    assert batch.masks is not None
    assert len(batch.masks) == len(batch) == 4
    assert batch.skipped == ["a\ttorn", "b/0\tno box", "c/1\tno box"]


def test_masks_only_if_every_query_has_one() -> None:
    assert (
        collate_queries(
            [((picture(0), [query("x", "1"), query("y", "2", mask=False)], (2, 2), "a"), [])]
        ).masks
        is None
    )


def test_a_batch_of_unreadable_images_is_empty() -> None:
    batch = collate_queries([(None, ["a\ttorn"])])
    assert len(batch) == 0
    assert batch.sizes.shape == (0, 2)
    assert batch.image_of_query.dtype == torch.long
    assert normalise(batch.images, HALF).shape[0] == 0


def test_lightning_moves_a_batch_by_itself() -> None:
    batch = collate_queries([((picture(0), [query("x", "1")], (2, 2), "a"), [])])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, GroundingBatch)
    assert {
        moved.images.device.type,
        moved.boxes[0].device.type,
        moved.sizes.device.type,
        moved.masks[0].device.type,
    } == {"meta"}  # type: ignore[index]
    assert moved.phrases == ["x"]


# Images of several sizes.

SHAPES = [(6, 4), (3, 9), (1, 7), (8, 1)]


def several_sizes() -> ImageTextBatch:
    """Images of one grey each, 100, 101, ..."""
    images = [torch.full((3, *shape), 100 + number, dtype=torch.uint8) for number, shape in enumerate(SHAPES)]
    stacked, extents = stack(images)
    names = [str(number) for number in range(len(images))]
    return ImageTextBatch(stacked, names, names, extents=extents)


@pytest.mark.parametrize(
    ("multiple", "least_side", "size"), [(1, 1, (8, 9)), (4, 1, (8, 12)), (5, 11, (15, 15))]
)
def test_images_are_padded_with_the_mean_colour(
    multiple: int, least_side: int, size: tuple[int, int]
) -> None:
    batch = several_sizes()
    preprocessing = replace(HALF, multiple=multiple)
    prepare_images(batch, preprocessing, least_side)
    assert batch.images.shape == (4, 3, *size)
    assert batch.extents is not None
    assert batch.extents.tolist() == [list(shape) for shape in SHAPES]
    assert batch.padding is not None
    for number, (height, width) in enumerate(SHAPES):
        grey = torch.full((1, 3, height, width), 100 + number, dtype=torch.uint8)
        assert torch.equal(batch.images[number, :, :height, :width], normalise(grey, HALF)[0])
        outside = batch.padding[number]
        assert outside.sum() == size[0] * size[1] - height * width
        assert not outside[:height, :width].any()
        assert (batch.images[number, :, outside] == 0).all()


def test_images_of_one_size_are_only_normalised() -> None:
    images, extents = stack([picture(1), picture(2)])
    assert extents is None
    batch = ImageTextBatch(images, ["a", "b"], ["a", "b"])
    prepare_images(batch, HALF)
    assert batch.padding is None
    assert torch.equal(batch.images, normalise(images, HALF))


def test_a_multiple_pads_images_of_one_size_too() -> None:
    images, _ = stack([picture(1), picture(2), picture(3)])
    batch = ImageTextBatch(images, ["a"] * 3, ["a"] * 3)
    prepare_images(batch, replace(HALF, multiple=3))
    assert batch.extents is not None
    assert batch.extents.tolist() == [[2, 2]] * 3
    assert batch.padding is not None
    assert batch.padding.sum() == 3 * (9 - 4)


def test_vectors_stay_as_they_are() -> None:
    vectors = torch.randn(2, 5)
    batch = ImageTextBatch(vectors, ["a", "b"], ["a", "b"])
    prepare_images(batch, replace(HALF, training=RandomWindow((4, 8), 6)), 6)
    assert batch.images is vectors


def test_a_batch_is_pinned_with_all_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []

    def pin(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        pinned.append(tensor.numel())
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = collate_queries([((picture(3), [query("x", "1")], (2, 2), "a"), [])])
    copy = batch.pin_memory()
    assert isinstance(copy, GroundingBatch)
    assert sorted(pinned) == [1, 1, 2, 4, 4, 12]  # image and chain, sizes, box and mask, pixels
    assert copy.phrases == ["x"]
    assert torch.equal(copy.images, batch.images)
