from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.similarity_map.losses import pseudo_label_loss
from lightning_modules.similarity_map.module import SimilarityMapSelfTraining
from lightning_modules.similarity_map.options import (
    ImageOptions,
    SelfTrainingWeights,
)
from lightning_modules.similarity_map.pseudo_labels import (
    PseudoLabelOptions,
    SimilarityTrunk,
    pseudo_labels,
)
from lightning_modules.teacher import TeacherOptions
from networks.clip import OpenCLIP
from networks.wwbl import WWbLSize
from tests.lightning_modules.conftest import train_step
from tests.networks.gpp_parity import fill
from tests.networks.test_clip import SMALL

TEXTS = ["a dog", "the red car", "a hat"]


def module(**options: Any) -> SimilarityMapSelfTraining:
    torch.manual_seed(0)
    built = SimilarityMapSelfTraining(
        OpenCLIP(sizes=SMALL),
        size=WWbLSize("test_resnet", 8, up_widths=(4,)),
        images=ImageOptions(train_size=32, eval_size=32),
        **options,
    )
    fill(built.network)
    if built.teacher is not None:
        built.teacher.load_state_dict(built.network.state_dict())
    return built.train()


def batch() -> ImageTextBatch:
    torch.manual_seed(1)
    return ImageTextBatch(torch.randn(3, 3, 32, 32), TEXTS, TEXTS)


def test_the_loss_is_the_sum_of_four() -> None:
    weights = SelfTrainingWeights(pseudo=2.0, area=0.5)
    loss, terms = train_step(module(weights=weights), batch())
    assert set(terms) == {"pseudo", "foreground", "background", "area", "loss"}
    total = 2 * terms["pseudo"] + terms["foreground"] + terms["background"] + 0.5 * terms["area"]
    assert_close(loss, total)


@pytest.mark.parametrize("left", ["pseudo", "foreground", "background", "area"])
def test_each_loss_can_stand_alone(left: str) -> None:
    others = dict.fromkeys(["pseudo", "foreground", "background", "area"], 0.0)
    trained = module(weights=SelfTrainingWeights(**{**others, left: 1.0}))
    loss, terms = train_step(trained, batch())
    assert set(terms) == {left, "loss"}
    loss.backward()
    assert any(parameter.grad is not None for parameter in trained.network.parameters())
    for part in (trained.clip, trained.teacher):
        assert part is not None
        assert all(parameter.grad is None for parameter in part.parameters())


def test_labels_come_from_the_teacher_as_it_is_judged() -> None:
    trained = module()
    images = batch().images
    vectors = trained.text_vectors(trained.prompted(TEXTS))
    labels = trained.teacher_labels(images, vectors)
    assert trained.teacher is not None
    assert not trained.teacher.training
    features = trained.teacher.encode(images)
    expected = pseudo_labels(features.signed, trained.teacher(images, vectors), trained.labels)
    assert_close(labels, expected)
    masks = trained.network(images, vectors)
    _, terms = train_step(module(), batch())
    assert_close(terms["pseudo"], pseudo_label_loss(masks, labels).detach())


@pytest.mark.parametrize("kind", ["frozen", "ema", "self"])
def test_teachers(kind: Any) -> None:
    trained = module(teacher=TeacherOptions(kind, decay=0.75))
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter.add_(1.0)
    before = dict(trained.state_dict())
    before = {name: value.clone() for name, value in before.items()}
    train_step(trained, batch())
    if kind == "self":
        assert trained.teacher is None
        assert trained.network.training
        return
    assert trained.teacher is not None
    moved = 0.25 if kind == "ema" else 0.0
    for name, parameter in trained.teacher.named_parameters():
        assert not parameter.requires_grad
        assert_close(parameter, before[f"teacher.{name}"] + moved, msg=name)


@pytest.mark.parametrize("features", ["pre_relu", "post_relu", "encoder"])
def test_which_features_are_compared(features: Any) -> None:
    trained = module(labels=PseudoLabelOptions(features=features))
    encoded = trained.network.encode(batch().images)
    expected = {"pre_relu": encoded.signed, "post_relu": encoded.places, "encoder": encoded.trunk}
    assert trained.compared_features(batch().images, encoded) is expected[features]


def test_another_networks_features_and_the_pseudo_label_as_answer() -> None:
    """Of another stride, and with images as that network wants them."""
    trunk = SimilarityTrunk("test_resnet", stride=4, mean=(0.0,) * 3, std=(1.0,) * 3)
    trained = module(labels=PseudoLabelOptions(trunk=trunk), answer="pseudo_label").eval()
    image_of_query = torch.tensor([2, 0])
    labels = trained.ground(batch().images, TEXTS[:2], image_of_query)
    assert labels.shape == (2, 8, 8)
    assert trained.similarity_trunk is not None
    assert not any(parameter.requires_grad for parameter in trained.similarity_trunk.parameters())
    images = batch().images[image_of_query]
    features = trained.similarity_trunk(images * 0.5 + 0.5)
    masks = trained.network(images, trained.text_vectors(trained.prompted(TEXTS[:2])))
    assert_close(labels, pseudo_labels(features, masks))


def test_masks_are_the_answer_by_default() -> None:
    trained = module().eval()
    image_of_query = torch.tensor([1, 1, 0, 2])
    phrases = [*TEXTS, "a dog"]
    masks = trained.ground(batch().images, phrases, image_of_query)
    vectors = trained.text_vectors(trained.prompted(phrases))
    assert_close(masks, trained.network(batch().images[image_of_query], vectors))
