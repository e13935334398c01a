"""Compact bilinear pooling: the outer product of two vectors, sketched without ever being formed.

Gao et al. 2016 (arXiv:1511.06062), Fukui et al. 2016 (MCB, arXiv:1606.01847). Legend: c features of x, c' of
y, d of the sketch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PostNorm = Literal["none", "signed_sqrt_l2"]


def count_sketch(x: Tensor, index: Tensor, sign: Tensor, size: int) -> Tensor:
    """Projects (..., c) to (..., d): entry k is the sum of ``sign[i] x[i]`` over all i with ``index[i] ==
    k``.

    It adds in the same order every time. On a GPU a scattered addition would not, hence the product with the
    c x d matrix of the signs there.
    """
    sign = sign.to(x.dtype)
    if x.device.type == "cpu":
        return torch.zeros(*x.shape[:-1], size, dtype=x.dtype).scatter_add(
            -1, index.expand(x.shape), x * sign
        )
    return x @ torch.zeros(len(index), size, dtype=x.dtype, device=x.device).scatter_(
        1, index[:, None], sign[:, None]
    )


def signed_sqrt_l2(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Signed square root, then unit length over the last axis. The root is that of ``|x| + eps``, whose
    gradient at 0 is finite.
    """
    return F.normalize(x.sign() * (x.abs() + eps).sqrt(), dim=-1, eps=1e-12)


class CompactBilinear(nn.Module):
    """MCB(x, y) = irfft(rfft(sketch(x)) * rfft(sketch(y))): the count sketch of the outer product of x and y.

    Its inner products estimate <x,z><y,w> with a relative noise of about 1/sqrt(d). Hashes and signs are
    drawn once, are never trained, and are kept in the state dict. All arithmetic is in float32 (float64 for
    float64 input) whatever autocast says: a GPU has no FFT in bfloat16.

    Args:
        x_features, y_features, size: c, c' and d; d may be odd.
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
            self.register_buffer(f"{name}_index", torch.randint(size, (features,), generator=generator))
            self.register_buffer(
                f"{name}_sign", torch.randint(2, (features,), generator=generator).float() * 2 - 1
            )

    def spectrum(self, y: Tensor) -> Tensor:
        """(..., c') -> (..., d // 2 + 1) complex: of a text that meets many positions, taken once."""
        with torch.autocast(y.device.type, enabled=False):
            return torch.fft.rfft(count_sketch(_full(y), self.y_index, self.y_sign, self.size))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., c) and (..., c'), broadcast over the leading axes, -> (..., d)."""
        return self.with_spectrum(x, self.spectrum(y))

    def with_spectrum(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """(..., c) and (..., d // 2 + 1) complex, broadcast, -> (..., d) of x's precision."""
        with torch.autocast(x.device.type, enabled=False):
            product = torch.fft.rfft(count_sketch(_full(x), self.x_index, self.x_sign, self.size)) * spectrum
            return torch.fft.irfft(product, n=self.size).to(x.dtype)

    def linear_map(self, y: Tensor) -> Tensor:
        """The matrix M(y) with MCB(x, y) = x M(y) for every x: (..., c') -> (..., c, d).

        For a given text the layer is linear in the image, and its matrix is what it makes of the unit
        vectors. With it, c transforms a text stand for one a position, and a linear layer on top of MCB folds
        into it (without a square root in between).
        """
        unit = torch.eye(len(self.x_index), dtype=_full(y).dtype, device=y.device)
        return self.with_spectrum(unit, self.spectrum(y)[..., None, :])


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
