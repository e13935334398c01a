"""What a measure over a whole set needs: rows collected by batch, and gathered once from all processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


def key_numbers(keys: Sequence[str]) -> Tensor:
    """A number for each key, the same on every machine: n texts -> (n,) int64.

    They are the first eight bytes of the keys' SHA-256, so that two keys of a set of ten million share one
    with a probability of 3e-6.
    """
    digests = [hashlib.sha256(key.encode()).digest()[:8] for key in keys]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.long)


T = TypeVar("T")


def of_all_processes(own: T) -> list[T]:
    """What each process holds, in their order. For plain values such as texts; tensors go through `WholeSet`.

    Example:
        >>> of_all_processes(["a text"])
        [['a text']]
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def summed_over_processes(values: Tensor) -> Tensor:
    """The sum of the tensors of all processes, which are of one shape; in place where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


class WholeSet(Metric):
    """The rows of a whole set, in an order that depends on their keys alone.

    Retrieval, for example, compares every image with every text: its score holds one `WholeSet` for the
    features of the images and one for those of the texts, adds to them in ``update``, and compares in
    ``compute``. All processes get the same rows in the same order, hence the same digits, whatever their
    number.

    Args:
        width: numbers in a row.
        dtype: of the rows.

    Example:
        >>> features = WholeSet(width=2)
        >>> features.update(["b.jpg", "a.jpg"], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> keys, rows = features.compute()
        >>> rows.shape
        torch.Size([2, 2])
        >>> bool((keys.sort().values == keys).all())
        True
    """

    is_differentiable = False
    full_state_update = False
    keys: list[Tensor]
    rows: list[Tensor]

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        # Gathered in `compute` and not by torchmetrics, which cannot tell the shape and type of the rows on a
        # process that has none.
        super().__init__(sync_on_compute=False)
        self.width = width
        self.row_dtype = dtype
        self.add_state("keys", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, keys: Sequence[str], rows: Tensor) -> None:
        """Adds rows.

        Args:
            keys: n names, unique within the set.
            rows: (n,width).

        Raises:
            ValueError: rows of another shape.
        """
        if rows.shape != (len(keys), self.width):
            raise ValueError(
                f"rows have shape {tuple(rows.shape)}, not ({len(keys)}, {self.width}): one for each key."
            )
        self.keys.append(key_numbers(keys).to(self.device))
        self.rows.append(rows.to(self.device, self.row_dtype))

    def compute(self) -> tuple[Tensor, Tensor]:
        """The rows of all processes.

        Returns:
            (S,) int64, the `key_numbers` in ascending order, and (S,width), their rows.

        Raises:
            ValueError: two rows have the same key.
        """
        keys = torch.cat([torch.zeros(0, dtype=torch.long, device=self.device), *self.keys])
        rows = torch.cat([torch.zeros(0, self.width, dtype=self.row_dtype, device=self.device), *self.rows])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            keys = torch.cat(gather_all_tensors(keys))
            rows = torch.cat(gather_all_tensors(rows))
        keys, order = keys.sort()
        if (keys[1:] == keys[:-1]).any():
            raise ValueError("two rows of the set have the same key; keys must be unique within a data set.")
        return keys, rows[order]
