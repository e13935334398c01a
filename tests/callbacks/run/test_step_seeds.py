from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from callbacks.run.step_seeds import StepSeeds


def draw(seed: int, rank: int = 0, epoch: int = 0, batch: int = 0) -> float:
    trainer: Any = SimpleNamespace(global_rank=rank, current_epoch=epoch)
    StepSeeds(seed).on_train_batch_start(trainer, None, None, batch)  # type: ignore[arg-type]
    return float(torch.rand(()))


def test_a_step_draws_the_same_whatever_came_before() -> None:
    first = draw(3, 1, 2, 5)
    torch.rand(100)
    assert draw(3, 1, 2, 5) == first


def test_seeds_processes_epochs_and_batches_all_matter() -> None:
    found = [
        draw(seed, rank, epoch, batch)
        for seed in range(3)
        for rank in range(3)
        for epoch in range(4)
        for batch in range(5)
    ]
    assert len(set(found)) == len(found)


def test_large_numbers() -> None:
    assert draw(2**62, 4096, 10_000, 10_000_000) != draw(2**62, 4096, 10_000, 10_000_001)
