"""What every method shares: capabilities, the optimiser and its schedule, loading weights, and guarding a
run.

A *capability* is a method that an evaluation may ask for; a module has those that it can serve
(`typing.Protocol`, no base class needed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from datamodules.batches import ImageTextBatch, Preprocessing
from datamodules.handover import Needs, Supply
from lightning_modules.errors import ModelError
from lightning_modules.loading import read_weights


@runtime_checkable
class CanGround(Protocol):
    """Finds phrases in images."""

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """(N,3,H,W) images, Q phrases, (Q,) indices into the images -> (Q,h,w) float32 heat maps in [0,1], at
        the model's own grid or finer.
        """
        ...


@runtime_checkable
class CanGroupTokens(Protocol):
    """Says which words of a caption belong together."""

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        """For each caption: the group of every token, and the word (whitespace token) of every token."""
        ...


@runtime_checkable
class CanMatch(Protocol):
    """Compares images with texts."""

    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        """(N,3,H,W) images, M texts -> (N,M) similarities."""
        ...


@runtime_checkable
class CanScoreTags(Protocol):
    """Says which words of a caption are visible."""

    def score_tags(self, images: Tensor, captions: list[str]) -> list[Tensor]:
        """(N,3,H,W) images and their N captions -> for each caption a score for every word."""
        ...


@runtime_checkable
class CanSegment(Protocol):
    """Labels pixels with given names."""

    def segment(self, images: Tensor, class_names: list[str]) -> Tensor:
        """(N,3,H,W) images, C names -> (N,C,h,w) scores."""
        ...


def require(module: Any, capability: type, asked_by: str) -> None:
    """Raises `ModelError` with one sentence if ``module`` lacks ``capability``."""
    if not isinstance(module, capability):
        needed = next(name for name in vars(capability) if not name.startswith("_"))
        raise ModelError(
            f"{asked_by} needs a module that can `{needed}`, and {type(module).__name__} cannot; take this evaluation out of the config."
        )


@dataclass(frozen=True)
class Optimisation:
    """AdamW and a learning-rate schedule.

    Args:
        lr: the highest learning rate.
        weight_decay: not applied to biases and other 1-d parameters. (The 0-d temperature and the 3-d
            position embeddings *are* decayed, as in the public code of ALBEF and SelfEQ.)
        betas: of AdamW.
        scalar_lr: learning rate of 0-d parameters, such as the temperature, as a share of ``lr``. 1 is the
            reference. Adam moves a parameter by about ``lr`` a step whatever its size: at 1e-3 the
            temperature falls from 0.07 to 0.007 within 65 steps, and its gradient then dwarfs all others.
        schedule: ``constant``; ``cosine`` (each step, to ``min_lr``); ``one_cycle`` (up for 30 % of the
            steps, then down, both by a cosine); ``albef`` (as ALBEF's public code: flat after warm-up until
            the end of epoch 0, then a cosine that moves once an epoch).
        warmup_steps: steps of linear warm-up from ``warmup_lr``; not for ``one_cycle``.
        warmup_lr, min_lr: first and last learning rate.
    """

    lr: float = 1e-4
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    scalar_lr: float = 1.0
    schedule: Literal["constant", "cosine", "one_cycle", "albef"] = "cosine"
    warmup_steps: int = 0
    warmup_lr: float = 1e-6
    min_lr: float = 1e-6

    def lr_at(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """The learning rate of optimiser step ``step`` (from 0)."""

        def cosine(start: float, end: float, progress: float) -> float:
            return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, progress)))

        if self.schedule == "one_cycle":
            peak = max(1, round(0.3 * total_steps))
            if step < peak:
                return cosine(self.lr / 25, self.lr, step / peak)
            return cosine(self.lr, self.min_lr, (step - peak) / max(1, total_steps - peak))
        if step < self.warmup_steps:
            return self.warmup_lr + (self.lr - self.warmup_lr) * step / self.warmup_steps
        if self.schedule == "cosine":
            return cosine(
                self.lr, self.min_lr, (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps)
            )
        if self.schedule == "albef":
            epochs = max(1, round(total_steps / steps_per_epoch))
            return cosine(self.lr, self.min_lr, (step // steps_per_epoch) / epochs)
        return self.lr


def parameter_groups(module: nn.Module, optimisation: Optimisation) -> list[dict[str, Any]]:
    """Trainable parameters in three groups: with weight decay, without, and scalars (see `Optimisation`)."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    scalars: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (
                scalars
                if parameter.ndim == 0
                else plain
                if parameter.ndim == 1 or name.endswith(".bias")
                else decayed
            ).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": optimisation.weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {
            "params": scalars,
            "weight_decay": optimisation.weight_decay,
            "lr": optimisation.lr * optimisation.scalar_lr,
        },
    ]
    return [group for group in groups if group["params"]]


class WeakgroundModule(pl.LightningModule):
    """Base of all methods.

    A method sets ``network``, ``preprocessing`` and ``train_batch`` (the kind of batch that its
    ``training_step`` takes), and may serve capabilities. Evaluation is done by callbacks, which ask for a
    capability; the steps here only keep the trainer's loops running.

    Args:
        optimisation: optimiser and schedule.
        pretrained: weights to start from: an official file, or a checkpoint of this project. Not read when a
            run resumes or is judged from its own checkpoint.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    network: nn.Module
    preprocessing: Preprocessing
    supply: Supply | None = None
    loaded_step: int = 0  # of the checkpoint that is judged

    def __init__(self, optimisation: Optimisation, pretrained: Path | None) -> None:
        super().__init__()
        self.optimisation, self.pretrained = optimisation, pretrained

    @property
    def needs(self) -> Needs:
        """What this method wants of its data."""
        return Needs(self.train_batch, self.preprocessing, type(self).__name__)

    def setup(self, stage: str) -> None:
        """Loads the pre-trained weights, unless a checkpoint of this very run is about to be loaded."""
        if self.pretrained and not self.trainer.ckpt_path:
            self.load_pretrained(Path(self.pretrained))

    def load_pretrained(self, path: Path) -> None:
        """Reads weights into ``network`` and says what was loaded, missing and unexpected.

        Raises:
            ModelError: no such file, another kind of file, or weights of another model or size.
        """
        state = read_weights(path)
        try:
            adapted = self.network.adapt_state_dict(state)  # type: ignore[operator]
            missing, unexpected = self.network.load_state_dict(adapted, strict=False)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: {str(error).splitlines()[0]}") from error
        text = f"{path}: {len(adapted) - len(unexpected)} tensors loaded"
        for what, keys in (("missing", missing), ("unexpected", unexpected)):
            text += f", {len(keys)} {what}" + (
                f" ({', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''})" if keys else ""
            )
        rank_zero_info(text)

    def configure_optimizers(self) -> Any:
        optimisation = self.optimisation
        optimizer = torch.optim.AdamW(
            parameter_groups(self, optimisation), lr=optimisation.lr, betas=optimisation.betas
        )
        total, per_epoch = self.planned_steps()
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: optimisation.lr_at(step, total, per_epoch) / optimisation.lr
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def planned_steps(self) -> tuple[int, int]:
        """Optimiser steps of the whole run, and of one epoch.

        Lightning's ``estimated_stepping_batches`` would open the training data before a resumed run knows
        where it stopped.
        """
        trainer: Any = self.trainer
        if self.supply is not None:
            batches, limit = self.supply.training_batches(), trainer.limit_train_batches
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        else:
            trainer.fit_loop.setup_data()
            batches = trainer.num_training_batches
        per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
        by_epochs = (
            per_epoch * trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
        )
        return int(min(by_epochs, trainer.max_steps if trainer.max_steps > 0 else math.inf, 10**9)), per_epoch

    def log_terms(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Logs the terms of a training loss.

        Raises:
            ModelError: the loss is not finite.
        """
        if not torch.isfinite(loss):
            values = ", ".join(f"{name}={value.item():.4g}" for name, value in terms.items())
            raise ModelError(
                f"the loss became {loss.item()} at step {self.global_step} ({values}): lower model.optimisation.lr, set "
                "trainer.gradient_clip_val, or resume from the last checkpoint with --ckpt_path last; no weight was changed by this step."
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, batch_size=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the norm of all gradients."""
        trainer: Any = self.trainer
        if (self.global_step + 1) % trainer.log_every_n_steps == 0:
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients), batch_size=1)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Evaluations are callbacks."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Evaluations are callbacks."""

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predictions are written by a callback."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another model or size with one sentence.

        Raises:
            ModelError: a tensor is missing, unexpected or of another shape.
        """
        self.loaded_step = checkpoint["global_step"]
        own, found = self.state_dict(), checkpoint["state_dict"]
        for key in {**own, **found}:
            here, there = (
                str(tuple(state[key].shape)) if key in state else "absent" for state in (own, found)
            )
            if here != there:
                raise ModelError(
                    f"the checkpoint is of another model or size: {key} is {there} in it and {here} in this {type(self).__name__}; "
                    "use the config.yaml of the run that wrote it."
                )
