"""TTD on tiny networks: what is trained, what a checkpoint holds, and what the module can be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageTextBatch
from lightning_modules.capabilities import CanGround, CanMatch, CanScoreTags, CanSegment, TagScore
from lightning_modules.errors import ModelError
from lightning_modules.teacher import TeacherOptions
from lightning_modules.ttd.backbones import CLIPModel, MaskCLIP, PublishedTCL
from lightning_modules.ttd.losses import LossOptions
from lightning_modules.ttd.module import TTDSelfDistill
from lightning_modules.ttd.options import ContrastOptions, ImageOptions
from networks.clip_dense import DenseOptions
from networks.dense_dual_encoder import DenseDualEncoder
from networks.layers.lora import LoRAOptions
from tests.lightning_modules.alignment.tiny import TinyEncoder
from tests.lightning_modules.conftest import gradients, train_step
from tests.lightning_modules.ttd.tiny import SIZES

LORA = LoRAOptions(rank=2, alpha=2)
IMAGES = ImageOptions(train_sizes=(32, 32), crop=32, eval_size=32)
CAPTIONS = ["a red ball and a dog", "the", "two blue squares on a red ball"]


def batch(captions: list[str] = CAPTIONS) -> ImageTextBatch:
    generator = torch.Generator().manual_seed(0)
    return ImageTextBatch(torch.randn(3, 3, 32, 32, generator=generator), captions, ["a", "b", "c"])


def maskclip() -> MaskCLIP:
    torch.manual_seed(0)
    return MaskCLIP(CLIPModel(sizes=SIZES))


def tcl() -> PublishedTCL:
    torch.manual_seed(0)
    return PublishedTCL(CLIPModel(sizes=SIZES))


def dual_encoder() -> DenseDualEncoder:
    return DenseDualEncoder(TinyEncoder(strides=(16,)))


BACKBONES: dict[str, tuple[Any, LoRAOptions | None]] = {
    "MaskCLIP": (maskclip, LORA),
    "TCL": (tcl, LORA),
    "dual encoder": (dual_encoder, None),
    "MaskCLIP itself": (maskclip, None),
}


def build(backbone: str = "MaskCLIP", **options: Any) -> TTDSelfDistill:
    make, adapters = BACKBONES[backbone]
    return TTDSelfDistill(make(), adapters, images=IMAGES, **options).train()


def train(module: TTDSelfDistill, steps: int = 3) -> list[float]:
    optimizer = torch.optim.AdamW([each for each in module.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for step in range(steps):
        loss, _ = train_step(module, batch(), batch_idx=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_reaches_all_that_is_trained_and_nothing_else(backbone: str) -> None:
    module = build(backbone)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    losses = train(module)
    assert losses[-1] < losses[0]
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    assert set(gradients(module)) == trained
    changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed <= trained
    assert len(changed) > len(trained) / 2
    if module.network.frozen_parts:
        assert not any("tower" in name for name in trained)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_capabilities(backbone: str) -> None:
    module = build(backbone).eval()
    for capability in (CanGround, CanMatch, CanScoreTags, CanSegment):
        assert isinstance(module, capability)
    images = batch().images
    maps = module.ground(images, ["dog", "a ball", "dog"], torch.tensor([2, 0, 2]))
    assert maps.shape[0] == 3
    assert torch.equal(maps[0], maps[2])
    assert 0 <= maps.min() <= maps.max() <= 1
    assert module.match(images, ["dog", "a ball"]).shape == (3, 2)
    names = ["dog", "ball", "sky"]
    masks = module.segment(images, names)
    assert masks.shape[:2] == (3, 3)
    assert torch.equal(masks, module.segment(images, names))
    refined = module.segment(images, names, refine=lambda _, masks: 1 - masks)
    assert (refined - masks).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["pixel", "image", "text", "segment"])
def test_words_are_scored(kind: TagScore) -> None:
    module = build().eval()
    captions = [*(caption.split() for caption in CAPTIONS[:2]), ["."]]
    scored = module.score_tags(batch().images, captions, [kind])[kind]
    assert [len(words.scores) for words in scored] == [6, 1, 1]
    assert [bool(score.isfinite()) for score in scored[0].scores] == [False, True, True, False, False, True]
    assert (scored[0].scores[1:3] >= 0).all()
    assert (scored[0].scores <= 1).all()
    if kind in ("pixel", "segment"):
        assert scored[0].selected.any()
        assert scored[1].selected.all()  # stop words are candidates where there is nothing else
    assert not scored[2].selected.any()


def test_pixel_scores_and_decisions_are_those_of_training() -> None:
    module = build().eval()
    words = CAPTIONS[0].split()
    cosines = F.normalize(module.network.encode_texts(["red", "ball", "dog"]), dim=1) @ (
        module.network.encode_pixels(batch().images)[0].flatten(1)
    )
    expected = module.network.soft_mask(cosines).amax(dim=1)
    (scored,) = module.score_tags(batch().images[:1], [words], ["pixel"])["pixel"]
    torch.testing.assert_close(scored.scores[[1, 2, 5]], expected)
    module.losses = LossOptions(space="cosine")
    (scored,) = module.score_tags(batch().images[:1], [words], ["pixel"])["pixel"]
    torch.testing.assert_close(scored.scores[[1, 2, 5]], cosines.amax(dim=1))


def test_texts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build()
    encoded: list[list[str]] = []
    encode = module.network.encode_prompts
    monkeypatch.setattr(
        module.network, "encode_prompts", lambda texts: encoded.append(texts) or encode(texts)
    )
    train_step(module, batch())
    (texts,) = encoded
    assert sorted(texts) == sorted([*CAPTIONS, "red", "ball", "dog", "two", "blue", "squares"])


def test_captions_without_words_give_no_loss_but_gradients() -> None:
    module = build()
    loss, _ = train_step(module, batch([".", "!", ""]))
    loss.backward()
    assert loss == 0
    trained = {name: each for name, each in module.named_parameters() if each.requires_grad}
    assert set(gradients(module)) == set(trained)
    assert all(gradient.abs().sum() == 0 for gradient in gradients(module).values())


def test_padding_does_not_count() -> None:
    module = build("dual encoder")  # whose places do not see far
    padded = batch()
    padded.extents = torch.tensor([[32, 32], [16, 32], [32, 16]])
    loss, terms = train_step(module, padded)
    other = replace(padded, images=padded.images.clone())
    whole, _ = train_step(module, replace(padded, extents=None))
    assert loss.isfinite()
    assert loss != whole
    assert terms["selected"] > 0
    torch.testing.assert_close(train_step(module, other)[0], loss)


@pytest.mark.parametrize("kind", ["frozen", "ema"])
def test_teachers(kind: Any) -> None:
    module = build(teacher=TeacherOptions(kind, decay=0.5))
    first = [weight.clone() for weight in module.teacher.weights]
    own, _ = train_step(build(), batch())
    loss, _ = train_step(module, batch())
    torch.testing.assert_close(loss, own)  # at the start, both teachers are the student
    train(module)
    moved = [not torch.equal(*pair) for pair in zip(first, module.teacher.weights, strict=True)]
    assert any(moved) == (kind == "ema")
    student = [each for each in module.network.parameters() if each.requires_grad]
    assert any(not torch.equal(*pair) for pair in zip(student, module.teacher.weights, strict=True))
    with module.teacher.inside(module.network):
        assert all(torch.equal(*pair) for pair in zip(student, module.teacher.weights, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(student, module.teacher.weights, strict=True))
    assert not any("teacher" in name for name in gradients(module))


def test_stored_features_give_the_same_loss() -> None:
    module = build("dual encoder")
    module.images = replace(IMAGES, resize="square")
    rows = module.compute_features(batch().images)
    assert module.needs.features is not None
    assert rows.shape == (3, module.needs.features.numbers)
    of_images, _ = train_step(module, batch())
    of_features, _ = train_step(module, replace(batch(), images=rows))
    torch.testing.assert_close(of_features, of_images, rtol=1e-2, atol=1e-2)


def test_features_are_stored_where_towers_are_frozen_and_images_whole() -> None:
    assert build("dual encoder").needs.features is None  # IMAGES are cut out of the middle
    module = build()
    module.images = replace(IMAGES, resize="square")
    assert module.needs.features is None


def test_switches() -> None:
    def loss(**options: Any) -> Tensor:
        return train_step(build(**options), batch())[0].detach()

    paper = loss()
    assert loss(losses=LossOptions(space="cosine")) != paper
    only_tags = loss(losses=LossOptions(distill_weight=0.0))
    only_distill = loss(losses=LossOptions(tag_weight=0.0))
    torch.testing.assert_close(only_tags + only_distill, paper)
    assert loss(contrast=ContrastOptions(weight=1.0, scale=10.0)) > paper


# Weights.


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of CLIP's weights."""
    path = tmp_path / "clip.pt"
    torch.save({f"module.{name}": tensor for name, tensor in maskclip().clip.state_dict().items()}, path)
    return path


def checkpoint_of(module: TTDSelfDistill) -> dict[str, Any]:
    checkpoint = {"state_dict": dict(module.state_dict()), "global_step": 3}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


@pytest.mark.parametrize("backbone", [MaskCLIP, PublishedTCL])
def test_a_checkpoint_holds_the_adapters_alone(backbone: Any, weights: Path, tmp_path: Path) -> None:
    def build_it(**options: Any) -> TTDSelfDistill:
        path = weights
        if backbone is PublishedTCL:
            path = tmp_path / "tcl.pt"
            torch.save({"model": tcl().state_dict()}, path)
        return TTDSelfDistill(backbone(CLIPModel(sizes=SIZES), path), LORA, images=IMAGES, **options).train()

    module = build_it(teacher=TeacherOptions("ema"))
    train(module)
    checkpoint = checkpoint_of(module)
    names = set(checkpoint["state_dict"])
    assert {name.split(".")[0] for name in names} == {"network", "teacher"}
    assert all(".lora_" in name for name in names if name.startswith("network."))
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint, path)
    other = build_it(teacher=TeacherOptions("ema"))
    other.restore(path)
    images = batch().images
    torch.testing.assert_close(other.match(images, ["dog"]), module.eval().match(images, ["dog"]))


def test_a_checkpoint_of_other_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    module = TTDSelfDistill(MaskCLIP(CLIPModel(sizes=SIZES), weights), LORA, images=IMAGES)
    checkpoint = checkpoint_of(module)
    torch.manual_seed(1)
    torch.save(MaskCLIP(CLIPModel(sizes=SIZES)).clip.state_dict(), weights)
    other = TTDSelfDistill(MaskCLIP(CLIPModel(sizes=SIZES), weights), LORA, images=IMAGES)
    with pytest.raises(ModelError, match="trained with other weights of network"):
        other.on_load_checkpoint(checkpoint)


def test_untrained_parts_without_a_file_stay_in_checkpoints() -> None:
    for backbone in BACKBONES:
        module = build(backbone)
        kept = set(checkpoint_of(module)["state_dict"])
        towers = {name for name in module.state_dict() if "tower" in name}
        assert kept == set(module.state_dict()) - towers


def test_tcl_without_clip_is_refused(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "tcl.pt"
    state = {name: tensor for name, tensor in tcl().state_dict().items() if name.startswith("masker.")}
    torch.save({"model": state}, path)
    with pytest.raises(ModelError, match=r"lacks the weights of CLIP: set .*clip_weights"):
        PublishedTCL(CLIPModel(sizes=SIZES), path)
    complete = PublishedTCL(CLIPModel(sizes=SIZES), path, clip_weights=weights)
    texts = ["a dog"]
    torch.testing.assert_close(complete.encode_texts(texts), maskclip().encode_texts(texts))


def test_a_model_that_open_clip_lacks() -> None:
    with pytest.raises(ModelError, match="open_clip has no model 'ViT-B-17'"):
        MaskCLIP(CLIPModel("ViT-B-17"))
    with pytest.raises(ModelError, match="not found"):
        MaskCLIP(CLIPModel(sizes=SIZES), Path("nowhere.pt"))


def test_class_names_are_put_into_the_chosen_sentences() -> None:
    torch.manual_seed(0)
    network = MaskCLIP(CLIPModel(sizes=SIZES), templates="none")
    torch.testing.assert_close(network.encode_class_names(["dog"]), network.encode_texts(["dog"]))
    assert (maskclip().encode_class_names(["dog"]) - network.encode_texts(["dog"])).abs().max() > 1e-3


def test_a_whole_image_is_its_class_token_or_the_mean_of_its_patches() -> None:
    images = batch().images
    network = maskclip()
    token = F.normalize(network.clip.encode_image(images), dim=-1)
    torch.testing.assert_close(network.encode_images(images), token)
    network.options = DenseOptions(whole_image="mean")
    mean = F.normalize(network.encode_pixels(images).mean(dim=(2, 3)), dim=-1)
    torch.testing.assert_close(network.encode_images(images), mean)
