"""Fine-tuning for retrieval, against its losses in plain loops over rows, on every backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.losses import Contrast
from lightning_modules.backbones.options import NegativeOptions
from lightning_modules.retrieval.module import NO_IMAGE, RetrievalFinetune, image_numbers
from networks.layers.tokenizer import Tokens
from tests.lightning_modules.backbones.test_losses import PARITY_WORDS
from tests.lightning_modules.conftest import NETWORKS, gradients, train_step
from tests.networks.albef_parity import inputs, outputs, tiny_albef

Build = Callable[..., Any]
CAPTIONS = ["a red dog", "the tall man", "small green car on the left", "a dog on the left"]
KEYS = ["a.jpg", "b.jpg", "c.jpg", "a.jpg"]  # the first and the last are captions of one image


@pytest.fixture(params=NETWORKS, ids=lambda backbone: backbone.__name__)
def backbone_class(request: pytest.FixtureRequest) -> Any:
    """Each published backbone."""
    return request.param


@pytest.fixture
def module(build: Build) -> RetrievalFinetune:
    module = build(RetrievalFinetune)
    module.queued_images[:4] = torch.cat([image_numbers(["z.jpg", "a.jpg", "b.jpg"]), torch.tensor([7])])
    return module


def batch(keys: list[str] = KEYS) -> ImageTextBatch:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return ImageTextBatch(images, CAPTIONS, keys)


class ByHand:
    """The losses of a step, every row in passes of its own."""

    def __init__(self, module: RetrievalFinetune, batch: ImageTextBatch, alpha: float) -> None:
        self.module = copy.deepcopy(module)
        self.backbone = self.module.backbone
        self.network = self.backbone.network
        self.network.update_momentum()
        self.alpha = alpha
        self.rows = range(len(batch.keys))
        self.same = [{j for j in self.rows if batch.keys[j] == batch.keys[i]} for i in self.rows]
        self.queued = [
            {n for n, number in enumerate(self.module.queued_images.tolist()) if number == own}
            for own in image_numbers(batch.keys).tolist()
        ]
        self.tokens = [
            self.backbone.tokenizer([self.backbone.clean(text)], max_length=None) for text in batch.captions
        ]
        self.images = [self.network.encode_image(batch.images[row : row + 1]) for row in self.rows]
        self.momentum_images = [
            self.network.encode_image(batch.images[row : row + 1], momentum=True) for row in self.rows
        ]

    def image_feature(self, row: int, momentum: bool = False) -> Tensor:
        tokens = self.momentum_images if momentum else self.images
        return self.network.image_feature(tokens[row], momentum=momentum)[0]

    def text_feature(self, row: int, momentum: bool = False) -> Tensor:
        hidden = self.backbone.encode_texts(self.tokens[row], momentum=momentum)
        return self.network.text_feature(hidden, momentum=momentum)[0]

    def contrast(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The loss, and for each row its similarities to the batch's texts and to its images."""
        sides = []
        losses = []
        for own, others, queue in (
            (self.image_feature, self.text_feature, self.network.text_queue),
            (self.text_feature, self.image_feature, self.network.image_queue),
        ):
            columns = torch.cat([torch.stack([others(j, True) for j in self.rows]), queue.t()]).detach()
            similarities = []
            for row in self.rows:
                logits = columns @ own(row) / self.network.temp
                teacher = (columns @ own(row, True) / self.network.temp).softmax(dim=0).detach()
                places = [*self.same[row], *(len(self.rows) + n for n in self.queued[row])]
                target = self.alpha * teacher
                target[places] += (1 - self.alpha) / len(places)
                losses.append(-(target * logits.log_softmax(dim=0)).sum() / 2)
                similarities.append(logits[: len(self.rows)].detach())
            sides.append(similarities)
        return 2 * torch.stack(losses).mean(), sides[0], sides[1]

    def matching(self, to_texts: list[Tensor], to_images: list[Tensor]) -> Tensor:
        """With the most similar row of another image for a negative."""
        losses = []
        for row in self.rows:
            others = [j for j in self.rows if j not in self.same[row]]
            image = max(others, key=lambda j: to_images[row][j].item())
            text = max(others, key=lambda j: to_texts[row][j].item())
            for text_row, image_row, label in ((row, row, 1), (row, image, 0), (text, row, 0)):
                fused = self.backbone.fuse_texts(
                    self.tokens[text_row], self.images[image_row], torch.tensor([0]), ()
                )
                logits = self.network.match_logits(fused.hidden)[0]
                losses.append(-F.log_softmax(logits, dim=0)[label])
        return torch.stack(losses).mean()


@pytest.mark.parametrize(("epochs", "alpha"), [(0.0, 0.0), (0.5, 0.2), (2.0, 0.4)])
def test_terms_are_those_of_plain_loops(
    module: RetrievalFinetune, first_choice: None, epochs: float, alpha: float
) -> None:
    by_hand = ByHand(module, batch(), alpha)
    itc, to_texts, to_images = by_hand.contrast()
    itm = by_hand.matching(to_texts, to_images)
    loss, terms = train_step(module, batch(), epochs)
    assert_close(terms["itc"], itc.detach(), rtol=1e-4, atol=1e-5)
    assert_close(terms["itm"], itm.detach(), rtol=1e-4, atol=1e-5)
    assert_close(loss.detach(), (itc + itm).detach(), rtol=1e-4, atol=1e-5)


def test_it_matters_which_rows_are_of_one_image(module: RetrievalFinetune, first_choice: None) -> None:
    apart = copy.deepcopy(module)
    apart.queued_images.fill_(NO_IMAGE)
    _, terms = train_step(module, batch())
    _, terms_apart = train_step(apart, batch(list("0123")))
    assert abs(terms["itc"] - terms_apart["itc"]) > 1e-3


def test_the_queue_remembers_whose_features_it_holds(module: RetrievalFinetune) -> None:
    train_step(module, batch())
    train_step(module, batch(["d.jpg", "e.jpg", "f.jpg", "g.jpg"]), batch_idx=1)
    # Six places: the second batch begins at the fifth, and wraps around.
    expected = image_numbers(["f.jpg", "g.jpg", "c.jpg", "a.jpg", "d.jpg", "e.jpg"])
    assert module.queued_images.tolist() == expected.tolist()
    assert int(module.network.queue_ptr) == 2
    assert "queued_images" in module.state_dict()


def test_all_that_is_trained_gets_a_gradient(module: RetrievalFinetune) -> None:
    loss, _ = train_step(module, batch())
    loss.backward()
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert set(gradients(module)) == trained
    assert "network.temp" in trained
    assert not any("_m." in name or "transform" in name for name in trained)


def test_same_texts_are_left_out_of_the_negatives_too(build: Build) -> None:
    module = build(RetrievalFinetune, backbone={"negatives": NegativeOptions(exclude="same_text")})
    alike = Contrast(torch.zeros(()), torch.zeros(4, 4), torch.zeros(4, 4))
    same_image = torch.eye(4, dtype=torch.bool)
    same_image[0, 1] = same_image[1, 0] = True
    texts = ["a dog", "a cat", "a dog", "a hat"]
    drawn = [module.backbone.draw_negatives(alike, texts, same_image=same_image) for _ in range(40)]
    for negatives in map(torch.stack, zip(*drawn, strict=True)):
        # The first row is of the image of the second, and says what the third says.
        assert set(negatives[:, 0].tolist()) == {3}
        assert set(negatives[:, 1].tolist()) == {2, 3}
        assert set(negatives[:, 2].tolist()) == {1, 3}


@pytest.mark.parametrize("backbone_class", [ALBEFBackbone])
def test_rows_of_different_images_are_as_in_pre_training(build: Build, first_choice: None) -> None:
    """Where nothing is of one image, the terms are those of ALBEF's public code."""
    module = build(RetrievalFinetune, tiny_albef(), PARITY_WORDS)
    module.backbone.tokenize = lambda texts: Tokens(inputs()["ids_i"], inputs()["att_i"])
    _, terms = train_step(module, ImageTextBatch(inputs()["images"], CAPTIONS, list("abcd")), epochs=1.0)
    assert terms["itc"].item() == pytest.approx(outputs()["loss_ita_a0.4"].item(), rel=1e-4)
    assert terms["itm"].item() == pytest.approx(outputs()["loss_itm_a0.4"].item(), rel=1e-4)
