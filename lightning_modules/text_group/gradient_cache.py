"""Gradient caching: the gradients of a loss over a whole batch, from passes over parts of it.

Gao et al. 2021 (arXiv:2101.06983):

1. Every part is encoded without a graph, and the state of the random numbers before it is kept.
2. The loss of all representations gives a gradient for each.
3. Every part is encoded again from the same random numbers, and the product of its representations with their
   gradients is differentiated: the same gradients as of one pass over the batch, with the memory of one part.

Legend: B rows of a batch, E width of their representations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")


class RandomState(NamedTuple):
    """The state of the random number generators.

    Args:
        cpu: of the CPU's generator.
        cuda: of the device's, if it has one of its own.
    """

    cpu: Tensor
    cuda: Tensor | None


def random_state(device: torch.device) -> RandomState:
    """The state of the CPU's generator, and of the device's if it has one of its own."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return RandomState(torch.get_rng_state(), cuda)


@contextmanager
def replayed(state: RandomState, device: torch.device) -> Iterator[None]:
    """Draws the numbers again that followed ``state``.

    Afterwards the generators go on as if nothing had been drawn.

    Example:
        >>> state = random_state(torch.device("cpu"))
        >>> first = torch.rand(2)
        >>> with replayed(state, torch.device("cpu")):
        ...     torch.equal(torch.rand(2), first)
        True
    """
    with torch.random.fork_rng(devices=[device] if state.cuda is not None else []):
        torch.set_rng_state(state.cpu)
        if state.cuda is not None:
            torch.cuda.set_rng_state(state.cuda, device)
        yield


def encode_without_graph(
    encode: Callable[[Part], Tensor], parts: Sequence[Part], device: torch.device
) -> tuple[Tensor, list[RandomState]]:
    """The first pass.

    Args:
        encode: a part of the batch -> its representations.
        parts: of the batch.
        device: on which they are encoded.

    Returns:
        The representations (B,E) of all parts, and the random state before each.
    """
    states = []
    representations = []
    with torch.no_grad():
        for part in parts:
            states.append(random_state(device))
            representations.append(encode(part))
    return torch.cat(representations), states


def loss_and_gradients(
    loss_of: Callable[..., Tensor], *representations: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The second pass; no parameter and no reducer of gradients takes part.

    Args:
        loss_of: representations -> a scalar.
        *representations: (B,E) each.

    Returns:
        The loss (detached), and its gradient to each of the representations.

    Example:
        >>> loss_and_gradients(lambda x: (x * x).sum(), torch.tensor([3.0]))
        (tensor(9.), (tensor([6.]),))
    """
    leaves: list[Any] = [representation.detach().requires_grad_() for representation in representations]
    with torch.enable_grad():
        loss = loss_of(*leaves)
    return loss.detach(), torch.autograd.grad(loss, leaves)
