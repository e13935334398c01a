"""What every method shares: its needs, its weights, its optimiser, and the guard of its run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from datamodules.batches import ImageTextBatch, Preprocessing
from datamodules.handover import Needs, Supply
from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile, digest
from lightning_modules.optimisation import Optimisation, make_optimizer, make_schedule


class WeakgroundModule(pl.LightningModule):
    """Base of all methods.

    A method sets ``network``, ``preprocessing`` and ``train_batch`` (the kind of batch that its
    ``training_step`` takes), and may serve capabilities (`lightning_modules.capabilities`). Evaluation is
    done by callbacks, which ask for a capability; the steps here only keep the trainer's loops running.

    Args:
        optimisation: optimiser and schedule.
        pretrained: weights of ``network`` to start from: an official file, or a checkpoint of this project.
            Not read when a run resumes or is judged from its own checkpoint.

    Attributes:
        supply: the data of the run; set once by `commands.connect`.
        loaded_step: step of the checkpoint that is judged.
    """

    train_batch: ClassVar[type] = ImageTextBatch
    network: nn.Module
    preprocessing: Preprocessing
    supply: Supply | None = None
    loaded_step: int = 0

    def __init__(self, optimisation: Optimisation, pretrained: Path | None) -> None:
        super().__init__()
        self.optimisation = optimisation
        self.part_files = [PartFile("network", pretrained, "--model.pretrained")]
        self.frozen_parts: list[str] = []
        self.parts_with_weights: list[str] = []
        self._digests: dict[str, str] = {}

    @property
    def needs(self) -> Needs:
        """What this method wants of its data."""
        return Needs(self.train_batch, self.preprocessing, type(self).__name__)

    # Weights.

    def freeze_part(self, part: str, brings_weights: bool = False) -> None:
        """Keeps a part as it is: it has no gradients and stays in evaluation mode.

        A frozen part whose weights can be read again is left out of checkpoints, which remember its
        fingerprint: one that starts from a file of its own, and one that ``brings_weights``. Parameters that
        are trained all the same, such as adapters that are added afterwards, stay in checkpoints.

        Args:
            part: its dotted name.
            brings_weights: whether the part has its final weights from the moment it is made, such as a
                published encoder.
        """
        self.get_submodule(part).requires_grad_(False).eval()
        self.frozen_parts.append(part)
        if brings_weights:
            self.parts_with_weights.append(part)

    def train(self, mode: bool = True) -> Self:
        """Frozen parts stay in evaluation mode, in which batch normalisation keeps its statistics."""
        super().train(mode)
        for part in self.frozen_parts:
            self.get_submodule(part).eval()
        return self

    def setup(self, stage: str) -> None:
        """Reads the parts that start from files, unless a checkpoint that holds them will be loaded."""
        from_checkpoint = bool(self.trainer.ckpt_path)
        for file in self.part_files:
            if file.path is None or (file.only_to_train and stage != "fit"):
                continue
            if file.part in self._parts_outside_checkpoints() or not from_checkpoint:
                rank_zero_info(file.load(self))
                self._digests.pop(file.part, None)

    def _parts_outside_checkpoints(self) -> list[str]:
        available = {file.part for file in self.part_files if file.path} | set(self.parts_with_weights)
        return [part for part in self.frozen_parts if part in available]

    def _digest(self, part: str) -> str:
        if part not in self._digests:
            self._digests[part] = digest(self._frozen_tensors(part))
        return self._digests[part]

    def _frozen_tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part that are not trained, by their names in it; none if there is no such part."""
        module = dict(self.named_modules()).get(part)
        if module is None:  # a checkpoint was trained with a part that is not needed here
            return {}
        parameters = module.named_parameters(remove_duplicate=False)
        trained = {name for name, parameter in parameters if parameter.requires_grad}
        return {name: tensor for name, tensor in module.state_dict().items() if name not in trained}

    def _under_all_names(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part that are not trained, by all of their names in this module.

        A tensor has several names where it is shared, as a language head shares the embeddings of words.
        """
        addresses = {tensor.data_ptr() for tensor in self._frozen_tensors(part).values() if tensor.numel()}
        return {name: tensor for name, tensor in self.state_dict().items() if tensor.data_ptr() in addresses}

    def restore(self, path: Path) -> None:
        """Takes the weights of a checkpoint of this method, without a trainer, to be applied and not trained.

        Raises:
            ModelError: a part that starts from a file is missing, or the checkpoint is of another model.
        """
        for file in self.part_files:
            if file.path and file.part in self._parts_outside_checkpoints() and not file.only_to_train:
                file.load(self)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"])
        self.eval()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out frozen parts whose weights can be read again."""
        outside = self._parts_outside_checkpoints()
        if not outside:
            return
        checkpoint["frozen_parts"] = {part: self._digest(part) for part in outside}
        left_out = {name for part in outside for name in self._under_all_names(part)}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in left_out}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another model or size, or one made with other frozen parts.

        Raises:
            ModelError: a tensor is missing, unexpected or of another shape, or a frozen part is another one.
        """
        self.loaded_step = checkpoint["global_step"]
        own = self.state_dict()
        stored = checkpoint["state_dict"]
        left_out = checkpoint.get("frozen_parts", {})
        for part, fingerprint in left_out.items():
            self._check_frozen_part(part, fingerprint)
            for name, value in self._under_all_names(part).items():
                stored.setdefault(name, value)
        for name in {**own, **stored}:
            shape_here = _shape(own, name)
            shape_there = _shape(stored, name)
            if shape_here != shape_there:
                raise ModelError(
                    f"the checkpoint is of another model or size: {name} is {shape_there} in it and "
                    f"{shape_here} in this {type(self).__name__}; use the config.yaml of the run that "
                    "wrote it."
                )

    def _check_frozen_part(self, part: str, fingerprint: str) -> None:
        file = next((file for file in self.part_files if file.part == part), None)
        if file is None and part not in self.parts_with_weights:
            return
        if file is not None and file.only_to_train and self.trainer.state.fn != "fit":
            return
        if self._digest(part) != fingerprint:
            remedy = f"set {file.option} to the file" if file else "take the same published weights"
            raise ModelError(
                f"the checkpoint was trained with other weights of {part}: {remedy} that its run was "
                "started with."
            )

    # Optimisation.

    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule that ``optimisation`` describes."""
        optimizer = make_optimizer(self, self.optimisation)
        total_steps, steps_per_epoch = self.planned_steps()
        schedule = make_schedule(optimizer, self.optimisation, total_steps, steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def planned_steps(self) -> tuple[int, int]:
        """Optimiser steps of the whole run, and of one epoch.

        Lightning's ``estimated_stepping_batches`` would open the training data before a resumed run knows
        where it stopped.
        """
        trainer: Any = self.trainer
        if self.supply is None:  # a trainer with plain data loaders
            trainer.fit_loop.setup_data()
            batches = trainer.num_training_batches
        elif isinstance(trainer.limit_train_batches, int):
            batches = min(self.supply.training_batches(), trainer.limit_train_batches)
        else:
            batches = int(self.supply.training_batches() * trainer.limit_train_batches)
        steps_per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
        limits = [10**9]
        if trainer.max_epochs and trainer.max_epochs > 0:
            limits.append(steps_per_epoch * trainer.max_epochs)
        if trainer.max_steps > 0:
            limits.append(trainer.max_steps)
        return min(limits), steps_per_epoch

    @property
    def epochs_done(self) -> float:
        """Epochs since the start, with fractions."""
        trainer: Any = self.trainer
        batches_done = trainer.fit_loop.epoch_loop.batch_progress.current.processed
        return self.current_epoch + batches_done / max(1, trainer.num_training_batches)

    def log_terms(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Logs a training loss and its terms.

        Raises:
            ModelError: the loss is not finite.
        """
        if not torch.isfinite(loss):
            values = ", ".join(f"{name}={value.item():.4g}" for name, value in terms.items())
            raise ModelError(
                f"the loss became {loss.item()} at step {self.global_step} ({values}): lower "
                "model.optimisation.lr, set trainer.gradient_clip_val, or resume from the last checkpoint "
                "with --ckpt_path last; no weight was changed by this step."
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, batch_size=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Logs the norm of all gradients."""
        trainer: Any = self.trainer
        if (self.global_step + 1) % trainer.log_every_n_steps == 0:
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients), batch_size=1)

    # The trainer's loops.

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Evaluations are callbacks."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Evaluations are callbacks."""

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predictions are written by a callback."""


def _shape(state: dict[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "absent"
