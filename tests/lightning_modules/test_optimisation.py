"""Schedules, parameter groups and planned steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules import base
from lightning_modules.optimisation import Optimisation, parameter_groups
from tests.lightning_modules.conftest import fit, gradients, tiny_network

Build = Callable[..., Any]


# The learning rate.


def test_albef_schedule() -> None:
    """The public code: up to the peak, flat to the end of epoch 0, then a cosine over 30 epochs that moves
    once an epoch.
    """
    optimisation = Optimisation(
        lr=2e-5, schedule="cosine_by_epoch", warmup_steps=10, warmup_lr=1e-6, min_lr=1e-6
    )

    def at(step: int) -> float:
        return optimisation.lr_at(step, total_steps=3000, steps_per_epoch=100)

    assert [at(0), at(5), at(10), at(99)] == pytest.approx([1e-6, 1.05e-5, 2e-5, 2e-5])
    for epoch in (1, 15, 29):
        expected = 1e-6 + 0.5 * 1.9e-5 * (1 + math.cos(math.pi * epoch / 30))
        assert [at(100 * epoch), at(100 * epoch + 99)] == pytest.approx([expected] * 2)


def test_cosine_is_torchs_after_the_warm_up() -> None:
    optimisation = Optimisation(lr=1e-3, schedule="cosine", warmup_steps=20, warmup_lr=0.0, min_lr=1e-5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=80, eta_min=1e-5)
    assert [optimisation.lr_at(step, 100, 7) for step in (0, 10)] == pytest.approx([0.0, 5e-4])
    for step in range(20, 101):
        assert optimisation.lr_at(step, 100, 7) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert optimisation.lr_at(150, 100, 7) == pytest.approx(1e-5), "steps beyond the plan stay at the end"


def test_one_cycle_is_torchs() -> None:
    """Up to a step: torch has its peak at step 299 of 1000 and its end at 999, we at 300 and 1000."""
    optimisation = Optimisation(lr=1e-3, schedule="one_cycle", min_lr=1e-6)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=1000, pct_start=0.3, div_factor=25, final_div_factor=40
    )
    assert [optimisation.lr_at(step, 1000, 1) for step in (0, 300, 1000)] == pytest.approx([4e-5, 1e-3, 1e-6])
    for step in range(1000):
        assert optimisation.lr_at(step, 1000, 1) == pytest.approx(optimizer.param_groups[0]["lr"], abs=6e-6)
        optimizer.step()
        if step < 999:
            reference.step()


def test_constant_schedule() -> None:
    optimisation = Optimisation(lr=1e-3, schedule="constant", warmup_steps=2, warmup_lr=0.0)
    assert [optimisation.lr_at(step, 10, 5) for step in range(5)] == pytest.approx(
        [0, 5e-4, 1e-3, 1e-3, 1e-3]
    )


class Quadratic(base.WeakgroundModule):
    """A method of two parameters."""

    def __init__(self, optimisation: Optimisation) -> None:
        super().__init__(optimisation, None)
        self.network = nn.Linear(1, 1)
        self.rates: list[float] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.rates.append(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        loss = (self.network(batch) ** 2).mean()
        self.log_terms(loss, {"square": loss})
        return loss


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:You defined a `validation_step`.*"
)
def test_a_run_follows_the_schedule_and_logs_the_gradient() -> None:
    module = Quadratic(
        Optimisation(lr=0.1, schedule="cosine_by_epoch", warmup_steps=1, warmup_lr=0.05, min_lr=0.0)
    )
    trainer = fit(module, [torch.ones(1, 1)] * 2, max_epochs=3, log_every_n_steps=1)
    expected = [0.05, 0.1] + [0.05 * (1 + math.cos(math.pi * epoch / 3)) for epoch in (1, 1, 2, 2)]
    assert module.rates == pytest.approx(expected)
    norm = torch.nn.utils.get_total_norm(gradients(module).values())
    assert trainer.callback_metrics["train/gradient_norm"] == pytest.approx(norm.item())
    assert set(trainer.callback_metrics) == {"train/gradient_norm", "train/square", "train/loss"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (30, 10)),
        ({"accumulate_grad_batches": 4}, (9, 3)),
        ({"limit_train_batches": 4}, (12, 4)),
        ({"limit_train_batches": 0.5}, (15, 5)),
        ({"limit_train_batches": 99}, (30, 10)),
        ({"max_steps": 12}, (12, 10)),
        ({"max_epochs": -1, "max_steps": 50}, (50, 10)),
    ],
    ids=str,
)
def test_planned_steps(options: dict[str, Any], expected: tuple[int, int]) -> None:
    module = Quadratic(Optimisation())
    defaults = {"accumulate_grad_batches": 1, "limit_train_batches": 1.0, "max_steps": -1, "max_epochs": 3}
    module.supply = SimpleNamespace(training_batches=lambda: 10)  # type: ignore[assignment]
    module.trainer = SimpleNamespace(**(defaults | options))  # type: ignore[assignment]
    assert module.planned_steps() == expected


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:You defined a `validation_step`.*"
)
def test_planned_steps_without_a_datamodule() -> None:
    module = Quadratic(Optimisation())
    fit(module, [torch.ones(1, 1)] * 5, max_epochs=3, accumulate_grad_batches=2)
    assert module.planned_steps() == (9, 3)
    assert module.global_step == 9


def test_parameter_groups() -> None:
    network = tiny_network()
    network.itm_head.weight.requires_grad_(False)
    decayed, plain, scalars = parameter_groups(
        network, Optimisation(lr=1e-3, weight_decay=0.02, scalar_lr=0.01)
    )
    assert [group["weight_decay"] for group in (decayed, plain, scalars)] == [0.02, 0.0, 0.02]
    assert scalars["lr"] == pytest.approx(1e-5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    of_decayed, of_plain, of_scalars = (
        [names[id(parameter)] for parameter in group["params"]] for group in (decayed, plain, scalars)
    )
    trainable = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert sorted(of_decayed + of_plain + of_scalars) == sorted(trainable)
    assert of_scalars == ["temp"]
    assert {"visual_encoder.pos_embed", "visual_encoder.cls_token", "vision_proj.weight"} <= set(of_decayed)
    assert {
        "vision_proj.bias",
        "visual_encoder.norm.weight",
        "text_encoder.bert.embeddings.LayerNorm.weight",
    } <= set(of_plain)
    assert not any(name.endswith(".bias") or "norm" in name.lower() for name in of_decayed)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:You defined a `validation_step`.*"
)
def test_scalars_follow_the_schedule_at_their_own_share() -> None:
    module = Quadratic(
        Optimisation(
            lr=0.1, scalar_lr=0.01, weight_decay=0.0, schedule="constant", warmup_steps=2, warmup_lr=0.0
        )
    )
    module.scale = nn.Parameter(torch.tensor(1.0))
    module.network.register_forward_hook(lambda network, inputs, output: output * module.scale)
    fit(module, [torch.ones(1, 1)] * 2, max_epochs=1)
    assert module.rates == pytest.approx([0.0, 0.05])
    assert module.scale.item() == pytest.approx(1 - 0.05 * 0.01, abs=1e-6), (
        "Adam's first steps are of the size of the learning rate"
    )
