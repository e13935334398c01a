"""Gradient caching: the gradients of a loss over a whole batch, from passes over parts of it (Gao et al.
2021, arXiv:2101.06983).

1. Every part is encoded without a graph, and the state of the random numbers before it is kept. 2. The loss
   of all representations gives a gradient for each.
3. Every part is encoded again from the same random numbers, and the product of its representations with their
   gradients is differentiated: the
same gradients as of one pass over the batch, with the memory of one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")
RandomState = tuple[Tensor, Tensor | None]


def random_state(device: torch.device) -> RandomState:
    """The state of the CPU's generator, and of the device's if it has one of its own."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


@contextmanager
def replayed(state: RandomState, device: torch.device) -> Iterator[None]:
    """Draws the numbers again that followed ``state``; afterwards the generators go on as if nothing had been
    drawn.
    """
    cpu, cuda = state
    with torch.random.fork_rng(devices=[device] if cuda is not None else []):
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        yield


def encode_without_graph(
    encode: Callable[[Part], Tensor], parts: Sequence[Part], device: torch.device
) -> tuple[Tensor, list[RandomState]]:
    """The first pass: the representations (B,E) of all parts, and the random state before each."""
    states, found = [], []
    with torch.no_grad():
        for part in parts:
            states.append(random_state(device))
            found.append(encode(part))
    return torch.cat(found), states


def loss_and_gradients(
    loss_of: Callable[..., Tensor], *representations: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The second pass: the loss (detached) of representations, and its gradient to each. No parameter and no
    reducer of gradients takes part.
    """
    leaves: list[Any] = [representation.detach().requires_grad_() for representation in representations]
    with torch.enable_grad():
        loss = loss_of(*leaves)
    return loss.detach(), torch.autograd.grad(loss, leaves)
