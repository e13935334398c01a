from __future__ import annotations

import numpy as np
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from datamodules.batches import GroundingBatch, Preprocessing, normalise
from datamodules.kinds.grounding import Query, collate_queries

HALF = Preprocessing(2, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))


def test_normalise_by_hand() -> None:
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    assert torch.allclose(normalise(images, HALF).flatten(), torch.tensor([-1.0, 3.0, 0.2]))
    assert normalise(images, HALF).dtype == torch.float32


def query(phrase: str, chain: str, mask: bool = True) -> Query:
    return Query(
        phrase, np.array([[0, 0, 1, 1]]), f"{phrase}-{chain}", chain, np.ones((2, 2), bool) if mask else None
    )


def picture(value: int) -> torch.Tensor:
    return torch.full((3, 2, 2), value, dtype=torch.uint8)


def test_queries_of_images_without_any_are_not_mixed_up() -> None:
    samples = [
        (None, ["a\ttorn"]),
        ((picture(1), [query("x", "1"), query("y", "1"), query("z", "2")], (5, 6)), []),
        (None, ["b/0\tno box"]),
        ((picture(2), [query("v", "1")], (7, 8)), ["c/1\tno box"]),
    ]
    batch = collate_queries(samples)
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2]
    assert batch.image_of_query.tolist() == [0, 0, 0, 1]
    assert batch.chain_of_query.tolist() == [0, 0, 1, 2]  # chain "1" of another image is another chain
    assert batch.sizes.tolist() == [[5, 6], [7, 8]]
    assert batch.boxes[0].dtype == torch.float32
    assert batch.masks is not None
    assert len(batch.masks) == len(batch) == 4
    assert batch.skipped == ["a\ttorn", "b/0\tno box", "c/1\tno box"]


def test_masks_only_if_every_query_has_one() -> None:
    assert (
        collate_queries([((picture(0), [query("x", "1"), query("y", "2", mask=False)], (2, 2)), [])]).masks
        is None
    )


def test_a_batch_of_unreadable_images_is_empty() -> None:
    batch = collate_queries([(None, ["a\ttorn"])])
    assert len(batch) == 0
    assert batch.sizes.shape == (0, 2)
    assert batch.image_of_query.dtype == torch.long
    assert normalise(batch.images, HALF).shape[0] == 0


def test_lightning_moves_a_batch_by_itself() -> None:
    batch = collate_queries([((picture(0), [query("x", "1")], (2, 2)), [])])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, GroundingBatch)
    assert {
        moved.images.device.type,
        moved.boxes[0].device.type,
        moved.sizes.device.type,
        moved.masks[0].device.type,
    } == {"meta"}  # type: ignore[index]
    assert moved.phrases == ["x"]
