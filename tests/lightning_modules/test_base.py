from __future__ import annotations

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
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.albef import ALBEF
from networks.layers.momentum_contrast import ContrastSize
from tests.lightning_modules.conftest import NETWORK, WORDS, fit, tiny_network

Build = Callable[..., Any]


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
    path = tmp_path / "weights.pth"
    trace = tmp_path / "harm"
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
