from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from metrics.whole_set import WholeSet, key_numbers

KEYS = [f"{number}.jpg" for number in range(7)]
ROWS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


def collected(shares: tuple[tuple[int, ...], ...]) -> tuple[Tensor, Tensor]:
    whole = WholeSet(width=3)
    for share in shares:
        whole.update([KEYS[index] for index in share], ROWS[list(share)])
    return whole.compute()


def test_the_order_is_that_of_the_keys_and_not_of_the_batches() -> None:
    keys, rows = collected(((0, 1, 2, 3, 4, 5, 6),))
    assert keys.tolist() == sorted(key_numbers(KEYS).tolist())
    assert rows.equal(ROWS[key_numbers(KEYS).argsort()])
    for shares in (((6, 5), (), (4, 3, 2, 1, 0)), ((1,), (0, 6, 2), (5, 4, 3))):
        assert all(map(torch.equal, collected(shares), (keys, rows)))


def test_what_does_not_fit_is_refused() -> None:
    whole = WholeSet(width=3)
    with pytest.raises(ValueError, match=r"rows have shape \(2, 4\), not \(2, 3\)"):
        whole.update(KEYS[:2], torch.zeros(2, 4))
    whole.update(KEYS[:2], ROWS[:2])
    whole.update(KEYS[1:3], ROWS[1:3])
    with pytest.raises(ValueError, match="same key"):
        whole.compute()
    whole.reset()
    assert [len(part) for part in whole.compute()] == [0, 0]


# Batches of the two processes: uneven shares, and a process that has nothing.
SHARES = ((((0, 1), (2,)), ((3, 4, 5, 6),)), (((6, 0, 2, 1), (3, 4, 5)), ()))


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save([collected(shares[rank]) for shares in SHARES], Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_two_processes_get_the_rows_of_one(tmp_path: Path) -> None:
    mp.start_processes(_process, (str(tmp_path),), nprocs=2, start_method="fork")  # imports nothing again
    keys, rows = collected((tuple(range(7)),))
    for rank in (0, 1):
        for gathered_keys, gathered_rows in torch.load(tmp_path / f"{rank}.pt", weights_only=True):
            assert gathered_keys.equal(keys)
            assert gathered_rows.equal(rows)
