from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.backbones.photo_encoder import packaged_image_state
from lightning_modules.optimisation import make_optimizer
from lightning_modules.packaged_weights import BY_NAME
from lightning_modules.similarity_map.options import (
    WEIGHTS_OF_THE_LAST_VERSION,
    WEIGHTS_OF_VERSION_1,
    WEIGHTS_OF_VERSION_1_1,
    CLIPUse,
    ImageOptions,
    LossWeights,
    TextOptions,
)
from lightning_modules.similarity_map.train import WWbLTrain
from networks.clip import OpenCLIP
from networks.wwbl import Decoder, WWbLSize
from tests.lightning_modules.conftest import train_step
from tests.networks.gpp_parity import TokenCLIP, clip_images, fill, numbers
from tests.networks.test_clip import SMALL

EXPECTED = numbers("train_step.json")
WEIGHTS = {"head_0d2ea25": WEIGHTS_OF_THE_LAST_VERSION, "ver1.1": WEIGHTS_OF_VERSION_1_1}
TEXTS = ["0", "1", "2", "3"]


class Patches(nn.Conv2d):
    """The trunk of the parity file."""

    def __init__(self) -> None:
        super().__init__(3, 24, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(super().forward(images))


def parity_module(weights: LossWeights, **options: Any) -> WWbLTrain:
    module = WWbLTrain(
        TokenCLIP(),
        size=WWbLSize("test_resnet"),
        weights=weights,
        texts=TextOptions(prompt=""),
        **options,
    )
    module.network.E = Patches()  # type: ignore[assignment]
    module.network.D = Decoder(24, 256, up_widths=(16,))
    fill(module.network)
    return module.train()


def parity_batch() -> ImageTextBatch:
    images = F.interpolate(clip_images(), size=64, mode="bilinear", align_corners=False)
    return ImageTextBatch(images, TEXTS, TEXTS)


@pytest.mark.parametrize("version", WEIGHTS)
def test_two_steps_are_those_of_the_public_code(version: str) -> None:
    expected = EXPECTED[version]
    module = parity_module(WEIGHTS[version])
    optimizer = make_optimizer(module, module.optimisation)
    batch = parity_batch()
    losses = []
    for _ in range(2):
        loss, terms = train_step(module, batch)
        if not losses:
            for ours, theirs in [
                ("area", "reg"),
                ("relevance", "cam"),
                ("foreground", "fr_all_pairs"),
                ("background", "bg_all_pairs"),
            ]:
                assert terms[ours].item() == pytest.approx(expected["terms"][theirs], rel=1e-4), ours
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(expected["losses_two_steps"], rel=1e-4)
    state = module.network.state_dict()
    assert set(state) == set(expected["param_sum_after"])
    for name, total in expected["param_sum_after"].items():
        assert state[name].double().sum().item() == pytest.approx(total, rel=1e-4, abs=1e-4), name


def test_the_papers_pairs() -> None:
    terms = EXPECTED["ver1.1"]["terms"]
    signed = parity_module(LossWeights(), clip_use=CLIPUse())
    _, ours = train_step(signed, parity_batch())
    assert ours["foreground"].item() == pytest.approx(terms["fr_diag"], rel=1e-4)
    assert ours["background"].item() == pytest.approx(terms["bg_diag_signed"], rel=1e-3)
    absolute = parity_module(LossWeights(), clip_use=CLIPUse(absolute_background=True))
    _, ours = train_step(absolute, parity_batch())
    assert ours["background"].item() == pytest.approx(terms["bg_diag_abs"], rel=1e-3)


def test_the_published_weightings() -> None:
    head = EXPECTED["head_0d2ea25"]["weights_w0_reg_w1_cam_w2_bg_w3_fr"]
    for published, weights in [
        (head, WEIGHTS_OF_THE_LAST_VERSION),
        (EXPECTED["ver1.1"]["weights_w0_reg_w1_cam_w2_bg_w3_fr"], WEIGHTS_OF_VERSION_1_1),
        ([0.25, 4, 0.5, 0.25], WEIGHTS_OF_VERSION_1),
    ]:
        assert [weights.area, weights.relevance, weights.background, weights.foreground] == published


def test_a_loss_without_weight_is_not_computed_and_clip_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = parity_module(replace(LossWeights(), relevance=0.0, foreground=0.0))
    monkeypatch.setattr(TokenCLIP, "relevance", None)
    loss, terms = train_step(module, parity_batch())
    assert set(terms) == {"area", "background", "loss"}
    loss.backward()
    assert all(parameter.grad is None for parameter in module.clip.parameters())
    assert not module.clip.training


def test_texts_are_prompted_once_and_lose_words() -> None:
    module = parity_module(LossWeights())
    module.texts = TextOptions(drop_words=0.5)
    assert module.prompted(["A Dog", "image of a dog"]) == ["image of a dog", "image of a dog"]
    caption = " ".join(f"w{number}" for number in range(400))
    torch.manual_seed(0)
    batch = ImageTextBatch(torch.zeros(1, 3, 8, 8), [caption], ["key"])
    words = module.training_texts(batch)[0].removeprefix("image of ").split()
    assert 150 < len(words) < 250
    assert [word for word in caption.split() if word in set(words)] == words
    phrases = PhraseBatch(torch.zeros(1, 3, 8, 8), ["a cat"], ["cat"], [None], ["key"])
    module.texts = TextOptions(source="phrases", prompt="")
    assert module.training_texts(phrases) == ["a cat"]
    assert module.needs.batch is PhraseBatch


def test_other_sizes_and_normalisations() -> None:
    images = ImageOptions(train_size=64, eval_size=96)
    module = parity_module(LossWeights(), images=images, clip_use=CLIPUse(own_normalisation=True)).eval()
    assert module.preprocessing.image_size == 96
    assert module.preprocessing.training is not None
    assert module.preprocessing.training.crop == 64
    white = module.as_clip_wants(torch.ones(1, 3, 2, 2))
    expected = (1 - torch.tensor(module.clip.mean)) / torch.tensor(module.clip.std)
    assert torch.allclose(white[0, :, 0, 0], expected)
    maps = module.ground(torch.randn(2, 3, 96, 96), TEXTS, torch.tensor([0, 1, 1, 0]))
    assert maps.shape == (4, 96, 96)
    module.queries_per_pass = 1
    again = module.ground(torch.randn(1, 3, 96, 96), [], torch.zeros(0, dtype=torch.long))
    assert again.shape == (0, 96, 96)


@pytest.mark.skipif(BY_NAME["tf_efficientnet_lite0"].find() is None, reason="the package is not installed")
def test_the_trunk_may_start_from_a_package() -> None:
    import timm

    size = WWbLSize("tf_efficientnet_lite0", 16, up_widths=(4,))
    module = WWbLTrain(OpenCLIP(sizes=SMALL), size=size, trunk_weights="package")
    published = packaged_image_state(size.trunk, timm.create_model(size.trunk))
    assert torch.equal(
        module.network.E.state_dict()["Org_model.model.conv_stem.weight"], published["conv_stem.weight"]
    )
    assert [file.part for file in module.part_files] == ["network", "clip"]


@pytest.mark.parametrize("brings_weights", [False, True])
def test_an_encoder_with_weights_of_its_own_stays_out_of_checkpoints(brings_weights: bool) -> None:
    clip = TokenCLIP()
    clip.brings_weights = brings_weights
    module = WWbLTrain(clip, size=WWbLSize("test_resnet"))
    checkpoint = {"state_dict": module.state_dict(), "global_step": 3}
    module.on_save_checkpoint(checkpoint)
    kept = any(name.startswith("clip.") for name in checkpoint["state_dict"])
    assert kept != brings_weights
    again = WWbLTrain(TokenCLIP(), size=WWbLSize("test_resnet"))
    again.clip.brings_weights = brings_weights
    again.clip.load_state_dict(module.clip.state_dict())
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
