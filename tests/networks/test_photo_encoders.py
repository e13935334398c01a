"""Towers: shapes, folded batch norms, remembered sentences, and published weights where they are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import pytest
import timm
import torch
from torch.nn import functional as F

from lightning_modules.backbones.photo_encoder import (
    load_image_tower,
    load_sentence_tower,
    packaged_image_state,
)
from lightning_modules.packaged_weights import PACKAGED_WEIGHTS
from networks.photo_encoders import ImageTower, SentenceTower
from tests.lightning_modules.alignment.tiny import tiny_sentence_tower

BUILDINGS = {442, 663, 698}  # classes of ImageNet: bell cote, monastery, palace
installed = pytest.mark.skipif(
    any(weights.find() is None for weights in PACKAGED_WEIGHTS), reason="needs the extra 'photos'"
)


@pytest.fixture
def tower() -> ImageTower:
    torch.manual_seed(0)
    tower = ImageTower("test_efficientnet").train()
    with torch.no_grad():
        for _ in range(3):  # batch norms that do something
            tower(torch.randn(4, 3, 64, 64) * 2 + 1)
    return tower.eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_shapes(tower: ImageTower, size: tuple[int, int]) -> None:
    features = tower(torch.zeros(2, 3, *size))
    assert [shape.stride for shape in tower.shapes] == [16, 32]
    for feature, shape in zip(features, tower.shapes, strict=True):
        assert feature.shape == (2, shape.channels, size[0] // shape.stride, size[1] // shape.stride)


def test_last_stride_can_be_removed() -> None:
    tower = ImageTower("test_efficientnet", keep_last_stride=False).eval()
    fine, coarse = tower(torch.zeros(1, 3, 64, 64))
    assert fine.shape[-2:] == coarse.shape[-2:] == (4, 4)


def test_folding_changes_nothing(tower: ImageTower) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = tower(images)
        norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in tower.modules())
        tower.fold_batch_norms()
        after = tower(images)
    assert norms
    assert tower.folded
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in tower.modules())
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-4)


def test_a_backbone_that_cannot_be_folded_stays_as_it_is() -> None:
    tower = ImageTower("test_resnet").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = tower(images)
        tower.fold_batch_norms()
        after = tower(images)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-4)


def test_a_sentence_is_the_mean_of_its_tokens() -> None:
    tower = tiny_sentence_tower()
    vectors = tower(["a red ball", "a dog on a big red car", "a red ball"])
    assert vectors.shape == (3, 16)
    assert torch.equal(vectors[0], vectors[2])
    encoding = tower.tokenizer.encode("a red ball")
    hidden = tower.bert(input_ids=torch.tensor([encoding.ids])).last_hidden_state[0]
    torch.testing.assert_close(vectors[0], F.normalize(hidden.mean(0), dim=0))


def test_sentences_are_remembered_until_there_are_too_many() -> None:
    tower = tiny_sentence_tower()
    tower.remembered = 2
    tower(["a", "red", "ball"])
    assert list(tower._memory) == ["red", "ball"]
    assert tower([]).shape == (0, 16)
    assert not tower(["a red ball"]).requires_grad


@pytest.mark.parametrize(
    "make",
    [
        tiny_sentence_tower,
        pytest.param(partial(load_sentence_tower, "all-MiniLM-L6-v2", "package"), marks=installed),
    ],
)
def test_a_sentence_does_not_depend_on_its_company(make: Callable[[], SentenceTower]) -> None:
    """To the last digit: a resumed run encodes other texts together than the uninterrupted one."""
    words = ["a", "red", "ball", "dog", "on", "big", "car"]
    texts = [" ".join(words[start : start + length]) for start in range(5) for length in range(1, 12, 2)]
    texts = list(dict.fromkeys(texts))
    torch.manual_seed(0)
    together = make()(texts)
    torch.manual_seed(0)
    tower = make()  # that remembers nothing
    alone = torch.cat([tower([text]) for text in reversed(texts)]).flip(0)
    assert torch.equal(together, alone)


@installed
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_packaged_images_are_read_right(name: str) -> None:
    """A network whose tensors were mixed up would not know a photograph of a pavilion by its class."""
    from sklearn.datasets import load_sample_image

    full = timm.create_model(name)
    full.load_state_dict(packaged_image_state(name, full))
    photo = cv2.resize(load_sample_image("china.jpg"), (224, 224), interpolation=cv2.INTER_AREA)
    images = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    tower, last_convolution = load_image_tower(name, "package")
    with torch.no_grad():
        classes = full.eval()(images)[0]
        expected = full.forward_features(images)
        ours = F.relu6(last_convolution(tower(images)[-1].permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    assert int(classes.argmax()) in BUILDINGS
    assert tower.folded
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


@installed
def test_packaged_sentences_know_what_words_mean() -> None:
    tower = load_sentence_tower("all-MiniLM-L6-v2", "package")
    dog, puppy, car = tower(["a dog", "a puppy", "a car"])
    assert dog @ puppy > 0.7 > dog @ car
