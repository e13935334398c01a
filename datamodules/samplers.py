"""Which samples a rank sees, in which order: the same on every machine, and resumable within an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled training indices of one rank as pairs (epoch, index).

    With the epoch in the pair, a data set can draw everything random about a sample (caption, crop, partner)
    from (seed, epoch, index): the result depends neither on the number of workers nor on where a run was
    stopped. Every rank gets the same number of samples; what does not divide is dropped, another part of it
    each epoch.

    Args:
        size: number of samples of the data set.
        batch_size: of one rank. Only whole batches are drawn.
        seed: of the order.
        rank: number of this process.
        world_size: number of processes.

    Attributes:
        epoch: of the next iteration; set by Lightning before each epoch.
        skip_batches: batches of the next iteration that a resumed run has already seen.
    """

    def __init__(self, size: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.per_rank = size // world_size // batch_size * batch_size
        self.epoch = 0
        self.skip_batches = 0

    @property
    def fingerprint(self) -> dict[str, int]:
        """What the order of samples depends on.

        Which rank gets which part of a step's samples does not matter.
        """
        return {"images": self.size, "images a step": self.batch_size * self.world_size, "seed": self.seed}

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator)[self.rank :: self.world_size][: self.per_rank]
        seen = self.skip_batches * self.batch_size
        self.skip_batches = 0
        yield from ((self.epoch, index) for index in order[seen:].tolist())

    def __len__(self) -> int:
        return self.per_rank
