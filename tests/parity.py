"""How near two computations of the same numbers must come, decided here for all parity tests.

No tolerance is written down by hand: it follows from what the precision can hold. In double precision that is
a few roundings (`assert_near_exact`). A float32 computation shows what it loses by its distance from the same
computation in double precision, and two of them, on whichever processors, lose about as much: `assert_parity`
allows neither to be ``MARGIN`` times as far from double precision as the other. This catches a wrong formula,
which moves our numbers in both precisions away from the reference, and precision lost on our side alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

ArrayLike = Tensor | np.ndarray | Sequence[float]
MARGIN = 10.0  # up to 5 was seen between matrix libraries, instruction sets and numbers of threads


@contextmanager
def double_precision() -> Iterator[None]:
    """Within it, the code's own casts to float32 (``tensor.float()``) are casts to float64."""
    with patch.object(Tensor, "float", Tensor.double):
        yield


def assert_parity(
    compute: Callable[[torch.dtype], Mapping[str, Tensor]],
    reference: Mapping[str, Tensor],
    discontinuous: Collection[str] = (),
) -> None:
    """Asserts that our float32 numbers are those of another implementation in float32.

    Args:
        compute: our numbers by name, from a model and inputs of a precision; called with float32 and float64.
        reference: the other implementation's float32 numbers; it may hold more than are computed.
        discontinuous: names of numbers that jump, like the gradient of a ReLU. On some processors rounding
            throws a right float32 number to the other side of a jump, so only our double precision is tested.
    """
    actual = compute(torch.float32)
    with double_precision():
        exact = compute(torch.float64)
    for name, number in actual.items():
        numbers = (number.detach(), reference[name].detach(), exact[name].detach())
        _assert_equally_exact(*numbers, name, name in discontinuous)


def assert_near_exact(actual: ArrayLike, exact: ArrayLike) -> None:
    """Asserts that numbers are exact, up to a few roundings of the largest in the precision of ``actual``."""
    actual = _tensor(actual)
    exact = _tensor(exact)
    assert actual.shape == exact.shape
    distance = _distance(actual, exact)
    allowed = MARGIN * _rounding(exact, actual.dtype)
    assert distance <= allowed, f"{distance:.2e} from the exact numbers, where {allowed:.2e} is allowed"


def _assert_equally_exact(actual: Tensor, reference: Tensor, exact: Tensor, name: str, jumps: bool) -> None:
    assert actual.shape == reference.shape == exact.shape, name
    assert (actual.dtype, reference.dtype, exact.dtype) == (torch.float32, torch.float32, torch.float64), name
    rounding = _rounding(exact, torch.float32)
    ours = _distance(actual, exact)
    theirs = _distance(reference, exact)
    distances = f"we are {ours:.2e}, the reference {theirs:.2e}; a rounding is {rounding:.2e}"
    message = f"{name}: from double precision {distances}"
    assert theirs <= MARGIN * (ours + rounding), message
    assert jumps or ours <= MARGIN * (theirs + rounding), message


def _distance(numbers: Tensor, exact: Tensor) -> float:
    """The largest error; not a number where one is missing, which no comparison lets pass."""
    return (numbers.double() - exact.double()).abs().max().item()


def _rounding(exact: Tensor, dtype: torch.dtype) -> float:
    """Of the largest number."""
    return torch.finfo(dtype).eps * exact.abs().max().item()


def _tensor(numbers: ArrayLike) -> Tensor:
    """Python's numbers in double precision, all others in their own."""
    return numbers.detach() if isinstance(numbers, Tensor) else torch.as_tensor(np.asarray(numbers))
