from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

from datamodules.batches import ImageTextBatch
from lightning_modules import base
from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.capabilities import (
    CanGround,
    CanGroupTokens,
    CanMatch,
    CanScoreTags,
    CanSegment,
    require,
)
from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile
from lightning_modules.optimisation import Optimisation, parameter_groups
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.albef import ALBEF, ContrastSize
from tests.lightning_modules.conftest import NETWORK, WORDS, fit, tiny_network

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
    norm = torch.stack([parameter.grad.norm() for parameter in module.parameters()]).norm()  # type: ignore[union-attr]
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


# Weights.


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(base, "rank_zero_info", lines.append)
    return lines


@pytest.fixture
def module(build: Build) -> VisionLanguagePretrain:
    return build(VisionLanguagePretrain)


def load(module: base.WeakgroundModule, path: Path) -> str:
    """What `setup` says of the network's weights."""
    return PartFile("network", path, "--model.pretrained").load(module)


def other_weights() -> dict[str, torch.Tensor]:
    """What a network of the same size may hold after training."""
    state = tiny_network().state_dict()
    return {
        name: tensor + 1 if tensor.is_floating_point() else tensor.clone() for name, tensor in state.items()
    }


@pytest.mark.parametrize("kind", ["wrapped", "flat", "own checkpoint", "safetensors"])
def test_pretrained_weights(module: VisionLanguagePretrain, tmp_path: Path, kind: str) -> None:
    state = other_weights()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    match kind:
        case "wrapped":
            torch.save(
                {"model": state, "optimizer": {"state": {}}, "epoch": 29, "config": {"alpha": 0.4}}, path
            )
        case "flat":
            torch.save(state, path)
        case "own checkpoint":
            prefixed = {f"network.{name}": tensor for name, tensor in state.items()} | {
                "head.weight": torch.zeros(1)
            }
            torch.save(
                {"state_dict": prefixed, "pytorch-lightning_version": pl.__version__, "epoch": 1}, path
            )
        case "safetensors":
            save_file(state, path)
    line = load(module, path)
    loaded = module.network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert line == f"{path}: {len(state)} tensors of network loaded"


def test_missing_and_unexpected_weights_are_named(
    module: VisionLanguagePretrain, tmp_path: Path, said: list[str]
) -> None:
    """Fine-tuned releases lack the language head."""
    state = {name: tensor for name, tensor in other_weights().items() if ".cls.predictions." not in name}
    torch.save(state | {"relation_head.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    line = load(module, tmp_path / "weights.pth")
    assert "14 missing (text_encoder.cls.predictions.bias" in line
    assert line.endswith("1 unexpected (relation_head.weight)")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "not found; set --model.pretrained, or leave it out to start from scratch"),
        (b"a text, not a model", "not readable as weights without running code"),
        ([1, 2], "holds a list, not a dictionary of tensors"),
        ({}, "holds nothing of ALBEF"),
        ({"conv1.weight": torch.zeros(1)}, "holds nothing of ALBEF; its first names are conv1.weight"),
        (
            {"model": {"itm_head.weight": torch.zeros(2, 768)}},
            r"of another size: itm_head.weight is \(2, 768\) there and \(2, 16\) here",
        ),
        ({"itm_head.bias": torch.zeros(2)}, "does not fit network: .* missing"),
        ("headless", r"2 missing \(itm_head.weight, itm_head.bias\)"),
        ({3: torch.zeros(1), "itm_head.bias": torch.zeros(2)}, "some of its names are no texts"),
        ({"model": {3: torch.zeros(1)}}, "some of its names are no texts"),
        ({"itm_head.bias": torch.tensor([1.0, float("nan")])}, "itm_head.bias holds NaN"),
        ("pickle", "not readable as weights without running code"),
        ("safetensors", "not readable as weights"),
    ],
    ids=[
        "absent",
        "text",
        "list",
        "empty",
        "other model",
        "other size",
        "one tensor",
        "no head",
        "a number for a name",
        "a number for an inner name",
        "NaN",
        "code",
        "broken safetensors",
    ],
)
def test_other_files_are_refused_with_one_sentence(
    module: VisionLanguagePretrain, tmp_path: Path, content: Any, sentence: str
) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "harm"
    before = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
    match content:
        case None:
            pass
        case bytes():
            path.write_bytes(content)
        case "pickle":
            path.write_bytes(pickle.dumps({"model": Harmful(trace)}, protocol=2))
        case "headless":
            state = other_weights()
            del state["itm_head.weight"], state["itm_head.bias"]
            torch.save(state, path)
        case "safetensors":
            path = tmp_path / "weights.safetensors"
            path.write_bytes(b"\x00" * 40)
        case _:
            torch.save(content, path)
    with pytest.raises(ModelError, match=sentence) as caught:
        load(module, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not trace.exists(), "code of the file was run"
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.network.state_dict().items())


@pytest.mark.parametrize(("ckpt_path", "reads"), [(None, 1), ("last.ckpt", 0)])
def test_a_resumed_run_does_not_read_pretrained_weights(
    build: Build, tmp_path: Path, said: list[str], ckpt_path: str | None, reads: int
) -> None:
    module = build(VisionLanguagePretrain, pretrained=tmp_path / "weights.pth")
    module.trainer = SimpleNamespace(ckpt_path=ckpt_path)
    torch.save(other_weights(), tmp_path / "weights.pth")
    module.setup("fit")
    assert len(said) == reads


# Checkpoints.


def caption_batch() -> ImageTextBatch:
    return ImageTextBatch(torch.randn(2, 3, 32, 32), ["a red dog", "the tall man"], ["0", "1"])


@pytest.fixture
def checkpoint(build: Build, tmp_path: Path) -> Path:
    """Of a run of one step."""
    torch.manual_seed(0)
    trainer = fit(build(VisionLanguagePretrain), [caption_batch()], max_epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def resume(module: pl.LightningModule, path: Path) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(
        module,
        DataLoader([caption_batch()], batch_size=None),
        ckpt_path=path,
        weights_only=True,
        verbose=False,
    )


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:You defined a `validation_step`.*"
)
class TestCheckpoint:
    def test_comes_back(self, build: Build, checkpoint: Path) -> None:
        module = build(VisionLanguagePretrain)
        with torch.no_grad():
            module.network.itm_head.weight.zero_()
        resume(module, checkpoint)
        saved = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(torch.equal(tensor, saved[name]) for name, tensor in module.state_dict().items())
        assert saved["network.itm_head.weight"].any()

    def test_can_be_the_pretrained_weights_of_another_run(
        self, build: Build, checkpoint: Path, said: list[str]
    ) -> None:
        module = build(VisionLanguagePretrain)
        line = load(module, checkpoint)
        saved = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert torch.equal(module.network.vision_proj.weight, saved["network.vision_proj.weight"])
        assert "missing" not in line
        assert "unexpected" not in line

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            (
                {"contrast": ContrastSize(embed_dim=4, queue_size=6)},
                r"another model or size: network.image_queue is \(8, 6\) in it and \(4, 6\) in this "
                "VisionLanguagePretrain",
            ),
            (
                {"vision": replace(NETWORK["vision"], depth=1)},
                r"another model or size: network.visual_encoder.blocks.1.norm1.weight is \(16,\) in it "
                "and absent in this",
            ),
        ],
    )
    def test_of_another_size_is_refused(
        self, build: Build, checkpoint: Path, changes: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(ModelError, match=sentence) as caught:
            resume(build(VisionLanguagePretrain, tiny_network(**changes)), checkpoint)
        assert "\n" not in str(caught.value)
        assert "config.yaml" in str(caught.value)

    def test_of_another_vocabulary_is_refused(self, build: Build, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        vocabulary = tmp_path / "other" / "vocabulary.txt"
        vocabulary.write_text("\n".join(WORDS[:-2] + WORDS[:-3:-1]))
        with pytest.raises(ModelError, match=r"another vocabulary; set --model\.backbone\.vocabulary"):
            resume(VisionLanguagePretrain(ALBEFBackbone(tiny_network(), vocabulary)), checkpoint)


# Capabilities.


def test_require(module: VisionLanguagePretrain) -> None:
    require(module, CanGround, "GroundingEvaluation")
    require(module, CanMatch, "RetrievalEvaluation")
    for capability, verb in (
        (CanSegment, "segment"),
        (CanGroupTokens, "group_tokens"),
        (CanScoreTags, "score_tags"),
    ):
        with pytest.raises(
            ModelError,
            match=f"SomeEvaluation needs a module that can `{verb}`, and VisionLanguagePretrain cannot; "
            "take this evaluation out",
        ):
            require(module, capability, "SomeEvaluation")
    with pytest.raises(ModelError, match="ALBEF cannot"):
        require(ALBEF.__new__(ALBEF), CanGround, "GroundingEvaluation")
