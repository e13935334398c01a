"""What the parity tests let pass and what they catch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from networks.albef import ALBEF
from tests.networks.albef_parity import forward_numbers, outputs, tiny_albef
from tests.parity import assert_near_exact, assert_parity


@torch.no_grad()
def assert_albef_parity(change: Callable[[ALBEF], object]) -> None:
    """Parity of the forward numbers of a network that was changed."""

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        model = tiny_albef().to(dtype)
        change(model)
        return forward_numbers(model)

    assert_parity(numbers, outputs())


@pytest.mark.parametrize(
    "name",
    [
        "visual_encoder.blocks.1.attn.qkv.weight",
        "visual_encoder.blocks.2.mlp.fc2.weight",
        "text_encoder.bert.encoder.layer.3.attention.self.value.weight",
        "text_encoder.bert.encoder.layer.11.output.dense.weight",
        "itm_head.weight",
    ],
)
def test_a_relative_error_of_one_in_ten_thousand_is_caught(name: str) -> None:
    with pytest.raises(AssertionError, match="from double precision"):
        assert_albef_parity(lambda model: model.get_parameter(name).mul_(1 + 1e-4))


@torch.no_grad()
def test_unchanged_numbers_pass() -> None:
    assert_albef_parity(lambda model: None)


def test_another_activation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "gelu", partial(F.gelu, approximate="tanh"))
    with pytest.raises(AssertionError, match="from double precision"):
        assert_albef_parity(lambda model: None)


def test_another_epsilon_is_caught() -> None:
    with pytest.raises(AssertionError, match="from double precision"):
        assert_albef_parity(lambda model: setattr(model.visual_encoder.blocks[0].norm1, "eps", 1e-4))


def test_precision_lost_on_our_side_alone_is_caught() -> None:
    """The reference is right and so is our double precision; in float32 a layer runs in half precision."""

    def halve(model: ALBEF) -> None:
        if model.temp.dtype == torch.float32:
            weight = model.vision_proj.weight
            weight.copy_(weight.bfloat16())

    with pytest.raises(AssertionError, match="image_feat: from double precision"):
        assert_albef_parity(halve)


def test_where_numbers_jump_only_double_precision_is_tested() -> None:
    """A step function at a number that float32 rounds down, and a reference that has the right side of it."""
    reference = {"step": torch.ones(3)}

    def numbers(dtype: torch.dtype, height: float = 1.0) -> dict[str, Tensor]:
        return {"step": height * (torch.full((3,), 1 + 1e-9, dtype=dtype) > 1).to(dtype)}

    assert_parity(numbers, reference, discontinuous=["step"])
    with pytest.raises(AssertionError, match="step: from double precision"):
        assert_parity(numbers, reference)


def test_numbers_near_the_exact_ones_are_a_few_roundings_from_them() -> None:
    exact = [1.0, -100.0]
    assert_near_exact(torch.tensor([1.0, -100.00005]), exact)
    for wrong in ([1.0, -100.0005], [1.0, float("nan")], [1.0]):
        with pytest.raises(AssertionError):
            assert_near_exact(torch.tensor(wrong), exact)
    with pytest.raises(AssertionError, match="from the exact numbers"):
        assert_near_exact([1.0, -100.00005], exact)
