from __future__ import annotations

import pytest

from datamodules.samplers import EpochSampler


def drawn(sampler: EpochSampler) -> list[int]:
    return [index for _, index in sampler]


@pytest.mark.parametrize(
    ("size", "batch_size", "world_size"), [(24, 4, 1), (25, 4, 1), (24, 4, 2), (29, 4, 3), (31, 5, 2)]
)
def test_ranks_are_disjoint_and_equally_long(size: int, batch_size: int, world_size: int) -> None:
    ranks = [drawn(EpochSampler(size, batch_size, 7, rank, world_size)) for rank in range(world_size)]
    everything = [index for rank in ranks for index in rank]
    assert len(set(everything)) == len(everything)
    assert (
        {len(rank) for rank in ranks}
        == {len(EpochSampler(size, batch_size, 7, 0, world_size))}
        == {size // world_size // batch_size * batch_size}
    )
    assert set(everything) <= set(range(size))


def test_an_epoch_has_its_own_order_and_its_number_travels_along() -> None:
    sampler = EpochSampler(40, 4, 0)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in first} == {0}
    assert {epoch for epoch, _ in second} == {1}
    assert sorted(index for _, index in first) == sorted(index for _, index in second) == list(range(40))
    assert [index for _, index in first] != [index for _, index in second]
    assert [index for _, index in first] != list(range(40))


def test_another_seed_is_another_order() -> None:
    orders = {tuple(drawn(EpochSampler(40, 4, seed))) for seed in range(5)}
    assert len(orders) == 5


def test_what_does_not_divide_is_another_part_each_epoch() -> None:
    sampler = EpochSampler(11, 4, 0)
    left_out = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        left_out |= set(range(11)) - set(drawn(sampler))
    assert left_out == set(range(11))


def test_skipped_batches_are_skipped_once() -> None:
    sampler = EpochSampler(24, 4, 3)
    whole = drawn(sampler)
    sampler.skip_batches = 2
    assert drawn(sampler) == whole[8:]
    assert drawn(sampler) == whole
    assert len(sampler) == 24
