"""Against the definition: the count sketch of the outer product, from numbers computed in float64 without any
Fourier transform.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.layers.compact_bilinear import CompactBilinear, count_sketch, signed_sqrt_l2
from tests.parity import assert_near_exact

REFERENCE = Path(__file__).parents[2] / "data" / "mcb" / "mcb_reference.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in np.load(REFERENCE).items()}


def layer_of(reference: dict[str, Tensor], case: str) -> CompactBilinear:
    """With the case's own hashes, as a checkpoint would bring them."""
    layer = CompactBilinear(
        len(reference[f"{case}_h1"]), len(reference[f"{case}_h2"]), int(reference[f"{case}_d"])
    )
    names = {"x_index": "h1", "x_sign": "s1", "y_index": "h2", "y_sign": "s2"}
    layer.load_state_dict({name: reference[f"{case}_{theirs}"] for name, theirs in names.items()})
    return layer


@pytest.mark.parametrize("case", ["even", "odd", "collide"])
def test_it_is_the_sketch_of_the_outer_product(reference: dict[str, Tensor], case: str) -> None:
    layer = layer_of(reference, case)
    x, y = (reference[f"{case}_{name}"].clone().requires_grad_() for name in "xy")
    out = layer(x, y)
    assert_near_exact(out, reference[f"{case}_out"])
    gradients = torch.autograd.grad(out, (x, y), reference[f"{case}_grad_out"])
    assert_near_exact(gradients[0], reference[f"{case}_grad_x"])
    assert_near_exact(gradients[1], reference[f"{case}_grad_y"])
    single = layer(reference[f"{case}_x"].float(), reference[f"{case}_y"].float())
    assert single.dtype == torch.float32
    assert_near_exact(single, reference[f"{case}_out"])


@pytest.mark.parametrize("case", ["even", "odd"])
def test_square_root_and_length(reference: dict[str, Tensor], case: str) -> None:
    assert_near_exact(signed_sqrt_l2(reference[f"{case}_out"], eps=0.0), reference[f"{case}_signed_sqrt_l2"])
    # What keeps the root's gradient finite changes it by up to this much; that is no matter of precision.
    assert_close(
        signed_sqrt_l2(reference[f"{case}_out"]), reference[f"{case}_signed_sqrt_l2"], rtol=0, atol=1e-4
    )


def test_the_root_has_a_finite_gradient_at_zero() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    signed_sqrt_l2(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_one_text_for_all_positions(reference: dict[str, Tensor]) -> None:
    layer = layer_of(reference, "spatial")
    positions = reference["spatial_f"].flatten(2).transpose(1, 2)
    text = reference["spatial_t"]
    expected = reference["spatial_out"].flatten(2).transpose(1, 2)
    assert_near_exact(layer.with_spectrum(positions, layer.spectrum(text)[:, None]), expected)
    matrix = layer.linear_map(text)
    assert_near_exact(matrix.transpose(1, 2), reference["spatial_linear_map"])
    assert_near_exact(positions @ matrix, expected)


def test_the_matrix_has_the_gradients_of_the_transforms() -> None:
    layer = CompactBilinear(9, 7, 15)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    y = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 15, generator=generator, dtype=torch.float64)
    (through_matrix,) = torch.autograd.grad((x @ layer.linear_map(y) * weight).sum(), y)
    (through_transforms,) = torch.autograd.grad((layer(x, y) * weight).sum(), y)
    assert_close(through_matrix, through_transforms)


def test_count_sketch_by_hand() -> None:
    found = count_sketch(
        torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 2]), torch.tensor([1.0, -1.0, -1.0]), 4
    )
    assert found.tolist() == [-2.0, 0.0, -3.0, 0.0]


def test_inner_products_are_kept() -> None:
    """<MCB(x,y), MCB(z,w)> estimates <x,z><y,w>."""
    generator = torch.Generator().manual_seed(0)
    x, y, noise = (
        torch.nn.functional.normalize(torch.randn(40, n, generator=generator), dim=1) for n in (32, 24, 32)
    )
    z = torch.nn.functional.normalize(x + noise, dim=1)
    layer = CompactBilinear(32, 24, 4096)
    found = (layer(x, y) * layer(z, y)).sum(1)
    expected = (x * z).sum(1)
    assert (found - expected).abs().mean() < 3 / 4096**0.5


def test_autocast_leaves_it_in_float32() -> None:
    """A GPU has no transform in bfloat16; a CPU would silently take it in float32 and hide that."""
    layer = CompactBilinear(16, 8, 32)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, generator=generator)
    y = torch.randn(3, 8, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x, y), layer(x.clone(), y.clone()))
        rounded = layer(x.bfloat16(), y.bfloat16())
        assert layer.linear_map(y).dtype == torch.float32
    assert_near_exact(layer(x, y), layer.double()(x.double(), y.double()))
    assert rounded.dtype == torch.bfloat16


def test_it_is_drawn_once_and_repeats_itself() -> None:
    layers = [CompactBilinear(16, 8, 33, seed) for seed in (0, 0, 1)]
    x = torch.randn(5, 16)
    y = torch.randn(5, 8)
    assert torch.equal(layers[0](x, y), layers[1](x, y))
    assert not torch.equal(layers[0](x, y), layers[2](x, y))
    layers[2].load_state_dict(layers[0].state_dict())
    assert torch.equal(layers[0](x, y), layers[2](x, y))
    assert not list(layers[0].parameters())
