"""A model and its data learn from the handover all they need of each other, and nothing from the trainer."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from callbacks.evaluations.grounding import GroundingEvaluation
from commands.connect import connect
from datamodules.batches import GroundingBatch, ImageTextBatch, Preprocessing
from datamodules.errors import DataError
from datamodules.sets.scenes import Scenes
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation

ROOT = Path(__file__).parents[1]
PACKAGES = ("callbacks", "commands", "datamodules", "lightning_modules", "metrics", "networks")
ROOMS = {"datamodule", "lightning_module"}


class Module(WeakgroundModule):
    """Learns how bright images are, and finds every phrase in the middle."""

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.logged: dict[str, float] = {}

    def log_dict(self, values: Any, **options: Any) -> None:
        self.logged |= values

    def training_step(self, batch: ImageTextBatch, batch_idx: int) -> Tensor:
        return self.network(batch.images.mean((1, 2, 3))[:, None]).square().mean()

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        maps = torch.zeros(len(phrases), 16, 16)
        maps[:, 8, 8] = 1.0
        return maps


def scenes(**options: Any) -> Scenes:
    sizes = {"image_size": 32, "train_size": 8, "val_size": 3, "test_size": 3, "batch_size": 2}
    return Scenes(**sizes, num_workers=0, seed=0, **options)


def stand_in(folder: Path, stage: str) -> Any:
    """Plain facts of a run, in place of its trainer."""
    batch_progress = SimpleNamespace(current=SimpleNamespace(ready=0, processed=0), is_last_batch=False)
    epoch_progress = SimpleNamespace(current=SimpleNamespace(ready=0, started=0, processed=0, completed=0))
    return SimpleNamespace(
        world_size=1,
        global_rank=0,
        is_global_zero=True,
        default_root_dir=str(folder),
        state=SimpleNamespace(fn="fit" if stage == "train" else "validate"),
        training=stage == "train",
        testing=False,
        predicting=False,
        sanity_checking=False,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        precision_plugin=SimpleNamespace(forward_context=lambda: torch.enable_grad()),
        fit_loop=SimpleNamespace(
            epoch_progress=epoch_progress, epoch_loop=SimpleNamespace(batch_progress=batch_progress)
        ),
        limit_train_batches=1.0,
        accumulate_grad_batches=1,
        max_epochs=3,
        max_steps=-1,
        ckpt_path=None,
    )


@pytest.fixture
def connected() -> tuple[Module, Scenes, GroundingEvaluation]:
    module = Module()
    data = scenes()
    evaluation = GroundingEvaluation()
    connect(module, data, [pl.Callback(), evaluation])
    return module, data, evaluation


def test_a_training_step(connected: tuple[Module, Scenes, GroundingEvaluation], tmp_path: Path) -> None:
    module, data, _ = connected
    trainer = stand_in(tmp_path, "train")
    module.trainer = data.trainer = trainer
    data.prepare_data()
    data.setup("fit")
    optimizer = module.configure_optimizers()["optimizer"]
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.images.shape == (2, 3, 16, 16)
    before = module.network.weight.detach().clone()
    module.training_step(batch, 0).backward()
    optimizer.step()
    assert not torch.equal(before, module.network.weight)
    assert module.planned_steps() == (12, 4)


def test_an_evaluation_step(connected: tuple[Module, Scenes, GroundingEvaluation], tmp_path: Path) -> None:
    module, data, evaluation = connected
    trainer = stand_in(tmp_path, "validate")
    trainer.callbacks = [evaluation]
    module.trainer = data.trainer = trainer
    data.setup("validate")
    evaluation.setup(trainer, module, "validate")
    evaluation.on_validation_epoch_start(trainer, module)
    for number, loaded in enumerate(data.val_dataloader()[0]):
        batch = data.on_after_batch_transfer(loaded, 0)
        assert isinstance(batch, GroundingBatch)
        evaluation.on_validation_batch_end(trainer, module, None, batch, number)
    evaluation.on_validation_epoch_end(trainer, module)
    assert "val/scenes/clean/pointing_game" in module.logged


def test_data_that_were_not_connected_say_so(tmp_path: Path) -> None:
    data = scenes()
    data.trainer = stand_in(tmp_path, "train")
    data.setup("fit")
    with pytest.raises(DataError, match=r"^Scenes was not told what its model needs: call \S+connect\("):
        data.train_dataloader()


def through_the_trainer(source: str) -> list[int]:
    """Lines that ask a trainer for a room: ``trainer.datamodule``, ``self.trainer.lightning_module`` ..."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ROOMS:
            owner = ast.unparse(node.value)
            if owner.endswith("trainer"):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr"}:
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if ROOMS & set(names):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_asks_the_trainer_for_another(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path): through_the_trainer(path.read_text(encoding="utf-8")) for path in files}
    assert {path: lines for path, lines in wrong.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "trainer.datamodule.sets",
        "self.trainer.lightning_module",
        "pl_module.trainer.datamodule",
        "self._trainer.datamodule",
        "getattr(trainer, 'datamodule')",
    ],
)
def test_the_rule_catches_what_it_forbids(source: str) -> None:
    assert through_the_trainer(source) == [1]
    assert through_the_trainer("cli.datamodule = self.datamodule") == []
