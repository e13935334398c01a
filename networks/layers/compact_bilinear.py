"""Compact bilinear pooling: the outer product of two vectors, sketched without ever being formed.

Gao et al. 2016 (arXiv:1511.06062), Fukui et al. 2016 (MCB, arXiv:1606.01847). Legend: c features of x, c' of
y, d of the sketch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.precision import full_precision

PostNorm = Literal["none", "signed_sqrt_l2"]


def count_sketch(x: Tensor, index: Tensor, sign: Tensor, size: int) -> Tensor:
    """Projects vectors: entry k is the sum of ``sign[i] x[i]`` over all i with ``index[i] == k``.

    It adds in the same order every time. On a GPU a scattered addition would not, hence the product with the
    c x d matrix of the signs there.

    Args:
        x: (..., c).
        index: (c,) long, below ``size``.
        sign: (c,) of 1 and -1.
        size: d.

    Returns:
        (..., d).

    Example:
        >>> count_sketch(torch.tensor([1.0, 2.0]), torch.tensor([2, 0]), torch.tensor([1, -1]), 3).tolist()
        [-2.0, 0.0, 1.0]
    """
    sign = sign.to(x.dtype)
    if x.device.type == "cpu":
        empty = torch.zeros(*x.shape[:-1], size, dtype=x.dtype)
        return empty.scatter_add(-1, index.expand(x.shape), x * sign)
    matrix = torch.zeros(len(index), size, dtype=x.dtype, device=x.device)
    return x @ matrix.scatter_(1, index[:, None], sign[:, None])


def signed_sqrt_l2(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Signed square root, then unit length over the last axis.

    The root is that of ``|x| + eps``, whose gradient at 0 is finite.

    Example:
        >>> signed_sqrt_l2(torch.tensor([9.0, -16.0])).round(decimals=3).tolist()
        [0.6000000238418579, -0.800000011920929]
    """
    return F.normalize(x.sign() * (x.abs() + eps).sqrt(), dim=-1, eps=1e-12)


class CompactBilinear(nn.Module):
    """MCB(x, y) = irfft(rfft(sketch(x)) * rfft(sketch(y))): the count sketch of the outer product of x and y.

    Its inner products estimate <x,z><y,w> with a relative noise of about 1/sqrt(d). Hashes and signs are
    drawn once, are never trained, and are kept in the state dict. All arithmetic is in float32 (float64 for
    float64 input) whatever autocast says: a GPU has no FFT in bfloat16.

    Args:
        x_features: c.
        y_features: c'.
        size: d; may be odd.
        seed: of hashes and signs.
    """

    x_index: Tensor
    x_sign: Tensor
    y_index: Tensor
    y_sign: Tensor

    def __init__(self, x_features: int, y_features: int, size: int, seed: int = 0) -> None:
        super().__init__()
        self.size = size
        generator = torch.Generator().manual_seed(seed)
        for name, features in (("x", x_features), ("y", y_features)):
            index = torch.randint(size, (features,), generator=generator)
            sign = torch.randint(2, (features,), generator=generator).float() * 2 - 1
            self.register_buffer(f"{name}_index", index)
            self.register_buffer(f"{name}_sign", sign)

    def spectrum(self, y: Tensor) -> Tensor:
        """(..., c') -> (..., d // 2 + 1) complex: of a text that meets many positions, computed once."""
        with torch.autocast(y.device.type, enabled=False):
            return torch.fft.rfft(count_sketch(full_precision(y), self.y_index, self.y_sign, self.size))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., c) and (..., c'), broadcast over the leading axes, -> (..., d)."""
        return self.with_spectrum(x, self.spectrum(y))

    def with_spectrum(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """(..., c) and (..., d // 2 + 1) complex, broadcast, -> (..., d) of x's precision."""
        with torch.autocast(x.device.type, enabled=False):
            sketched = count_sketch(full_precision(x), self.x_index, self.x_sign, self.size)
            return torch.fft.irfft(torch.fft.rfft(sketched) * spectrum, n=self.size).to(x.dtype)

    def linear_map(self, y: Tensor) -> Tensor:
        """The matrix M(y) with MCB(x, y) = x M(y) for every x.

        For a given text the layer is linear in the image, and its matrix is what it makes of the unit
        vectors. With it, c transforms a text stand for one a position, and a linear layer on top of MCB folds
        into it (without a square root in between).

        Args:
            y: (..., c').

        Returns:
            (..., c, d).
        """
        unit = torch.eye(len(self.x_index), dtype=full_precision(y).dtype, device=y.device)
        return self.with_spectrum(unit, self.spectrum(y)[..., None, :])
