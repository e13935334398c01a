"""Optimisers and learning-rate schedules, from one description for all methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from lightning_modules.errors import ModelError

Schedule = Literal["constant", "cosine", "cosine_by_epoch", "one_cycle"]


@dataclass(frozen=True)
class Optimisation:
    """An optimiser and its learning-rate schedule.

    Args:
        lr: the highest learning rate.
        optimizer: ``adamw``, or ``sgd`` with momentum.
        weight_decay: of the parameters that ``decayed`` names.
        decayed: ``matrices`` exempts biases and other 1-d parameters (the 0-d temperature and 3-d position
            embeddings *are* decayed, as in the public code of ALBEF and SelfEQ); ``all`` exempts nothing.
        betas: of AdamW.
        momentum: of SGD.
        scalar_lr: learning rate of 0-d parameters, such as a temperature, as a share of ``lr``. 1 is the
            reference. Adam moves a parameter by about ``lr`` a step whatever its size: at 1e-3 a temperature
            of 0.07 falls to 0.007 within 65 steps, and its gradient then dwarfs all others.
        part_lr: by the dotted name of a part, e.g. ``network.backbone``: its learning rate as a share of
            ``lr``; 0 keeps the part as it is.
        part_weight_decay: by the dotted name of a part: its weight decay in place of ``weight_decay``.
        schedule: ``constant``; ``cosine`` (every step, down to ``min_lr``); ``cosine_by_epoch`` (flat until
            the end of epoch 0, then a cosine that moves once an epoch, as in ALBEF's public code);
            ``one_cycle`` (up for 30 % of the steps, then down, both by a cosine).
        warmup_steps: steps of linear warm-up from ``warmup_lr``; not for ``one_cycle``.
        warmup_lr: the first learning rate of the warm-up.
        min_lr: the last learning rate.

    Raises:
        ValueError: a learning rate that is not positive, or a negative number.

    Example:
        >>> optimisation = Optimisation(lr=0.1, schedule="cosine", min_lr=0.0)
        >>> [round(optimisation.lr_at(step, total_steps=4, steps_per_epoch=2), 3) for step in range(5)]
        [0.1, 0.085, 0.05, 0.015, 0.0]
    """

    lr: float = 1e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.02
    decayed: Literal["matrices", "all"] = "matrices"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    scalar_lr: float = 1.0
    part_lr: Mapping[str, float] = field(default_factory=dict)
    part_weight_decay: Mapping[str, float] = field(default_factory=dict)
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    warmup_lr: float = 1e-6
    min_lr: float = 1e-6

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"the learning rate lr must be above 0, not {self.lr}")
        for name in ("warmup_steps", "weight_decay", "min_lr"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, as {getattr(self, name)} is")

    def lr_at(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """The learning rate of optimiser step ``step``, counted from 0."""
        if self.schedule == "one_cycle":
            peak = max(1, round(0.3 * total_steps))
            if step < peak:
                return _cosine(self.lr / 25, self.lr, step / peak)
            return _cosine(self.lr, self.min_lr, (step - peak) / max(1, total_steps - peak))
        if step < self.warmup_steps:
            return self.warmup_lr + (self.lr - self.warmup_lr) * step / self.warmup_steps
        if self.schedule == "cosine":
            steps_left = max(1, total_steps - self.warmup_steps)
            return _cosine(self.lr, self.min_lr, (step - self.warmup_steps) / steps_left)
        if self.schedule == "cosine_by_epoch":
            epochs = max(1, round(total_steps / steps_per_epoch))
            return _cosine(self.lr, self.min_lr, (step // steps_per_epoch) / epochs)
        return self.lr


def _cosine(start: float, end: float, progress: float) -> float:
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(module: nn.Module, optimisation: Optimisation) -> list[dict[str, Any]]:
    """The trainable parameters of a module, grouped by what the optimiser treats alike.

    Raises:
        ModelError: a part that ``optimisation`` names does not exist.
    """
    modules = dict(module.named_modules())
    parts = {*optimisation.part_lr, *optimisation.part_weight_decay}
    for part in parts:
        if part not in modules:
            raise ModelError(
                f"optimisation names the part {part!r}, which this module does not have; "
                f"its parts are called {', '.join(name for name in modules if name.count('.') == 1)}."
            )
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        part = _part_of(name, parts)
        share = optimisation.part_lr.get(part, 1.0)
        if not parameter.requires_grad or share == 0:
            continue
        lr = optimisation.lr * share
        weight_decay = optimisation.part_weight_decay.get(part, optimisation.weight_decay)
        kind = "decayed"
        if parameter.ndim == 0:
            kind = "scalar"
            lr *= optimisation.scalar_lr
        elif optimisation.decayed == "matrices" and (parameter.ndim == 1 or name.endswith(".bias")):
            kind = "exempt"
            weight_decay = 0.0
        group = {"params": [], "lr": lr, "weight_decay": weight_decay}
        groups.setdefault((part, kind), group)["params"].append(parameter)
    # The first group's learning rate is what is logged and shown as that of the run: that of the rest, whose
    # part has no name.
    return [groups[key] for key in sorted(groups)]


def _part_of(name: str, parts: Iterable[str]) -> str:
    """The longest of ``parts`` that a parameter's name begins with; empty for none."""
    prefixes = [part for part in parts if name.startswith(f"{part}.")]
    return max(prefixes, key=len, default="")


def make_optimizer(module: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    """The optimiser of a module's trainable parameters."""
    groups = parameter_groups(module, optimisation)
    if optimisation.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=optimisation.lr, momentum=optimisation.momentum)
    return torch.optim.AdamW(groups, lr=optimisation.lr, betas=optimisation.betas)


def make_schedule(
    optimizer: torch.optim.Optimizer, optimisation: Optimisation, total_steps: int, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The schedule of an optimiser; its step is an optimiser's step."""

    def share(step: int) -> float:
        return optimisation.lr_at(step, total_steps, steps_per_epoch) / optimisation.lr

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
