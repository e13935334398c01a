from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.layers.class_activation import attention_gradients, cam_target, class_activation_map, minmax

# One text of three tokens (the last one padding), two heads, a grid of 1 x 2 behind the class token, which
# must never count.
GRID = (1, 2)
MASK = torch.tensor([[1, 1, 0]])
ATTENTION = torch.tensor([[[[9.0, 1, 2], [9, 3, 4], [9, 5, 6]], [[9, 1, 1], [9, 2, 2], [9, 7, 7]]]])
GRADIENT = torch.tensor([[[[9.0, 1, -1], [9, 2, 1], [9, 9, 9]], [[9, -2, 1], [9, 1, -3], [9, 9, 9]]]])
# Sums over heads of attention * gradient: token 0: (1 - 2, -2 + 1); token 1: (6 + 2, 4 - 6). Without
# negatives: (1, 1) and (8, 4).


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [9 / 4, 5 / 4]),
        ({"token_reduce": "mean_all"}, [9 / 6, 5 / 6]),
        ({"token_reduce": "mean_all", "denominator": 2.5}, [9 / 5, 1]),
        ({"token_reduce": "mean_all", "denominator": torch.tensor([5])}, [9 / 10, 5 / 10]),
        ({"token_reduce": "sum"}, [9 / 2, 5 / 2]),
        ({"token_reduce": "mean_no_special"}, [8 / 2, 4 / 2]),
        ({"relu": "after_mean"}, [7 / 4, 0]),
        ({"relu": "after_mean", "heads": [0], "token_reduce": "sum"}, [7, 2]),
        ({"heads": [1]}, [2 / 2, 1 / 2]),
        ({"heads": [1], "token_reduce": "mean_no_special"}, [2, 0]),
    ],
)
def test_map_by_hand(options: dict[str, object], expected: list[float]) -> None:
    cam = class_activation_map(ATTENTION, GRADIENT, MASK, GRID, **options)
    assert cam.shape == (1, 1, 2)
    assert_close(cam.flatten(), torch.tensor(expected, dtype=torch.float32))


def test_map_of_a_text_without_words_is_zero_without_specials() -> None:
    cam = class_activation_map(
        ATTENTION, GRADIENT, torch.tensor([[1, 0, 0]]), GRID, token_reduce="mean_no_special"
    )
    assert cam.tolist() == [[[0, 0]]]


def test_grid_is_filled_row_by_row() -> None:
    attention = torch.arange(7.0).reshape(1, 1, 1, 7)
    cam = class_activation_map(attention, torch.ones_like(attention), torch.ones(1, 1), (2, 3))
    assert cam.tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["itm_logit", "itm_loss", "log_probability"])
def test_targets_by_hand(kind: str) -> None:
    logits = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    log_probability = math.log(math.e / (1 + math.e)) + math.log(0.5)
    expected = {
        "itm_logit": 3.0,
        "itm_loss": -log_probability,
        "log_probability": log_probability,
    }
    assert cam_target(logits, kind).item() == pytest.approx(expected[kind])


def test_loss_as_target_points_away_from_the_evidence_and_vanishes_when_confident() -> None:
    def gradient(kind: str, margin: float) -> Tensor:
        logits = torch.tensor([[0.0, margin]], requires_grad=True)
        return attention_gradients(cam_target(logits, kind), [logits])[0][0, 1]

    assert gradient("itm_logit", 0) == 1
    assert gradient("itm_loss", 0) == -0.5
    assert -1e-3 < gradient("itm_loss", 8) < 0
    assert gradient("log_probability", 0) == 0.5


def test_target_is_differentiable_where_the_caller_has_gradients_off() -> None:
    logits = torch.ones(1, 2, requires_grad=True)
    with torch.no_grad():
        assert attention_gradients(cam_target(logits), [logits])[0].tolist() == [[0, 1]]
        assert not cam_target(logits.detach()).requires_grad


def test_gradient_is_differentiable_on_request() -> None:
    attention = torch.tensor([2.0], requires_grad=True)
    (first,) = attention_gradients((attention**3).sum(), [attention], create_graph=True)
    assert first.item() == 12
    assert attention_gradients(first.sum(), [attention])[0].item() == 12
    assert not attention_gradients((attention**3).sum(), [attention])[0].requires_grad
    assert attention.grad is None


def test_half_precision_maps_are_computed_in_float32() -> None:
    attention = torch.full((1, 1, 1, 2), 1e-4, dtype=torch.float16)
    gradient = torch.full((1, 1, 1, 2), 1e-4, dtype=torch.float16)
    cam = class_activation_map(attention, gradient, torch.ones(1, 1), (1, 1))
    assert cam.dtype == torch.float32
    assert cam.item() == pytest.approx(1e-8, rel=1e-2)


def test_minmax_is_per_map_and_out_of_place() -> None:
    cam = torch.tensor([[[1.0, 3.0]], [[4.0, 12.0]], [[5.0, 5.0]]], requires_grad=True)
    rectified = cam.relu()
    scaled = minmax(rectified, eps=0.5)
    assert_close(scaled, torch.tensor([[[0, 2 / 2.5]], [[0, 8 / 8.5]], [[0.0, 0.0]]]))
    scaled.sum().backward()
    assert rectified.flatten().tolist() == [1, 3, 4, 12, 5, 5]
    assert torch.isfinite(cam.grad).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (2, 2)}, "2 patches does not fit a grid of 2 x 2"),
        ({"relu": "never"}, "relu must be"),
        ({"token_reduce": "max"}, "no token reduction is called 'max'"),
        ({"heads": [2]}, r"heads \[2\] are not a choice among the 2 heads"),
        ({"heads": []}, "are not a choice"),
        ({"denominator": 3}, "a denominator belongs to mean_all, not to mean_valid"),
    ],
)
def test_choices_that_do_not_exist_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_activation_map(ATTENTION, GRADIENT, MASK, **({"grid": GRID} | options))
    with pytest.raises(ValueError, match="no class activation target is called 'loss'"):
        cam_target(torch.zeros(1, 2), "loss")
