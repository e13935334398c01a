"""The order in which the samples of shards are trained on: a pure function of seed and epoch, with reads that
stay local.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from datamodules.samplers import EpochSampler


def shard_order(starts: Sequence[int], window: int, seed: int, epoch: int) -> np.ndarray:
    """All samples in the order of an epoch: shards shuffled, then every sample moved by less than ``window``
    places.

    Args:
        starts: number of the first sample of each shard, then the number of all samples.
        window: about the number of samples that a shuffle buffer would hold; 0 reads shards from end to end.
        seed: of the run.
        epoch: from 0.

    Returns:
        (N,) int64.

    Example:
        >>> shard_order([0, 2, 5, 6], window=0, seed=0, epoch=0).tolist()
        [5, 0, 1, 2, 3, 4]
    """
    rng = np.random.default_rng([seed, epoch])
    shards = rng.permutation(len(starts) - 1)
    in_shards = np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in shards])
    places = np.arange(len(in_shards)) + window * rng.random(len(in_shards))
    return in_shards[np.argsort(places, kind="stable")]


class ShardSampler(EpochSampler):
    """As `EpochSampler`, but each rank gets one stretch of `shard_order`.

    A rank thus reads shards of its own (save the two that it shares with its neighbours), and few of them at
    a time. Its workers take batches in turn.

    Args:
        starts, window: as for `shard_order`.
        batch_size, seed, rank, world_size: as for `EpochSampler`.
    """

    def __init__(
        self,
        starts: Sequence[int],
        window: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(starts[-1], batch_size, seed, rank, world_size)
        self.starts = starts
        self.window = window

    @property
    def fingerprint(self) -> dict[str, int]:
        """What the order of samples depends on."""
        own = {"shards": len(self.starts) - 1, "window": self.window, "processes": self.world_size}
        return super().fingerprint | own

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        skip = self.skip_batches * self.batch_size
        self.skip_batches = 0
        order = shard_order(self.starts, self.window, self.seed, epoch)
        stretch = self.size // self.world_size
        # A copy, so that the whole order is not kept in memory.
        own = order[self.rank * stretch :][skip : self.per_rank].copy()
        yield from ((epoch, int(index)) for index in own)
