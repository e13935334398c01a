from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import GroundingBatch, ImageTextBatch
from lightning_modules.capabilities import CanGround
from lightning_modules.errors import ModelError
from lightning_modules.mcb_attention.losses import Queries, total_variation
from lightning_modules.mcb_attention.module import MCBAttention
from lightning_modules.mcb_attention.pretrain import BackboneOptimisation, DigitPretrain, black_of
from networks.mcb_attention import ResNetSize
from tests.lightning_modules.conftest import fit, gradients, train_step

TINY = ResNetSize(width=4, blocks=(1,), strides=(1,))
SIZES: dict[str, Any] = {"backbone": TINY, "text_width": 6, "sketch": 33, "hidden": 8, "image_size": 16}
SGD = BackboneOptimisation(lr=0.02, warmup_steps=0, schedule="constant")


def module(**options: Any) -> MCBAttention:
    torch.manual_seed(0)
    return MCBAttention(**{"judge_backbone": TINY, **SIZES, **options}).train()


def batch(rows: int = 4) -> ImageTextBatch:
    captions = ["a seven and a three", "a three", "a zero and a nine and a zero", "a one and a two"]
    return ImageTextBatch(
        torch.randn(rows, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
        captions[:rows],
        list("abcd")[:rows],
    )


def pretrained(path: Path, **options: Any) -> DigitPretrain:
    """A classifier, saved as a run saves it."""
    torch.manual_seed(1)
    classifier = DigitPretrain(backbone=TINY, image_size=16, **options)
    state = {f"network.{name}": value for name, value in classifier.network.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.6"}, path)
    return classifier


def test_total_variation_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0], [0.5, 0.5]], [[0.2, 0.2], [0.2, 0.2]]])
    assert total_variation(maps).item() == pytest.approx((1.0 + 0.0 + 0.5 + 0.5) / 8)
    images = (
        torch.tensor([[0.0, 0.3], [0.0, 0.6]])
        .repeat_interleave(2, 0)
        .repeat_interleave(2, 1)
        .expand(2, 1, 4, 4)
    )
    expected = (math.exp(-0.3 / 0.15) + 0.5 + 0.5 * math.exp(-0.3 / 0.15)) / 8
    assert total_variation(maps, images, edge=0.15).item() == pytest.approx(expected)


class TestLoss:
    def test_without_weights_it_is_cross_entropy(self) -> None:
        loss, terms = train_step(module(pair_weight=0.0, penalty_weight=0.0), batch())
        assert loss.item() == pytest.approx(terms["ce"].item())
        assert set(terms) == {"ce", "penalty", "loss"}

    def test_it_is_the_weighted_sum_of_its_terms(self) -> None:
        options = {
            "pair_weight": 0.3,
            "penalty_weight": 0.7,
            "class_weight": 0.5,
            "complement_weight": 2.0,
            "judge_weight": 0.9,
            "absent": 1.0,
        }
        options["smooth_weight"] = 0.6
        loss, terms = train_step(module(**options, absent_weight=1.5), batch())
        weights = {
            "variation": 0.6,
            "ce": 0.5,
            "pair": 0.3,
            "penalty": 0.7,
            "complement": 2.0,
            "under": 0.9,
            "rest": 0.9,
            "absent": 1.5,
        }
        assert set(terms) == {*weights, "loss"}
        assert loss.item() == pytest.approx(
            sum(weight * terms[name].item() for name, weight in weights.items()), rel=1e-5
        )

    def test_each_term_by_hand(self) -> None:
        net = module(queries="all", post_norm="none").eval()
        images, labels = batch().images, net.labels(batch().captions)
        _, terms = train_step(net, batch())
        image, classes = labels.nonzero(as_tuple=True)
        features = net.network.backbone(images)
        maps = net.network.attention(features, classes, image).sigmoid()
        pooled = (features[image] * maps[:, None]).mean((2, 3))
        assert terms["ce"].item() == pytest.approx(
            F.cross_entropy(net.network.classifier(pooled), classes).item(), rel=1e-4
        )
        assert terms["penalty"].item() == pytest.approx((maps**2).mean().item(), rel=1e-4)

    def test_images_without_a_known_word_are_no_queries(self) -> None:
        loss, _ = train_step(
            module(), ImageTextBatch(torch.randn(2, 3, 16, 16), ["a three", "a dog"], ["a", "b"])
        )
        assert loss.isfinite()

    def test_captions_without_any_known_word_are_said(self) -> None:
        with pytest.raises(
            ModelError, match=r"no caption of this batch has one of the words zero, one.+set --model.words"
        ):
            train_step(module(), ImageTextBatch(torch.randn(2, 3, 16, 16), ["a cat", "a dog"], ["a", "b"]))

    def test_the_judge_sees_the_parts_and_learns_nothing(self) -> None:
        net = module(judge_weight=1.0, class_weight=0.0, pair_weight=0.0)
        seen: list[Tensor] = []
        assert net.judge is not None
        net.judge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        before = {name: value.clone() for name, value in net.judge.state_dict().items()}
        loss, _ = train_step(net, batch())
        loss.backward()
        (parts,) = seen
        under, rest = parts.chunk(2)
        black = black_of(net.preprocessing, torch.device("cpu"))
        assert_close(under + rest - black, batch().images)
        assert all(parameter.grad is None for parameter in net.judge.parameters())
        assert net.network.attend2.weight.grad is not None
        assert all(torch.equal(before[name], value) for name, value in net.judge.state_dict().items())

    def test_a_judge_that_is_sure_costs_nothing(self) -> None:
        net = module(judge_weight=1.0)
        labels = net.labels(["a seven and a three"])
        queries = Queries(torch.tensor([7]), torch.tensor([0]), torch.tensor([True]))
        answers = torch.full((2, 10), -30.0)
        answers[0, 7] = answers[1, 3] = 30.0
        assert net.judge is not None
        net.judge.forward = lambda images: answers  # type: ignore[method-assign, assignment]
        under, rest = net.judged(torch.randn(1, 3, 16, 16), labels, torch.rand(1, 16, 16), queries)
        assert (under.item(), rest.item()) == pytest.approx((0.0, 0.0), abs=1e-9)

    def test_a_loss_that_is_not_finite_is_said(self) -> None:
        net = module()
        net.network.classifier.bias.data[0] = torch.nan
        with pytest.raises(ModelError, match="the loss became nan at step 0"):
            train_step(net, batch())


class TestTraining:
    def test_backbone_learns_at_a_tenth(self) -> None:
        net = module(optimisation=BackboneOptimisation(lr=0.1, schedule="constant"))
        net.planned_steps = lambda: (10, 10)  # type: ignore[method-assign]
        groups = net.configure_optimizers()["optimizer"].param_groups
        assert [group["lr"] for group in groups] == [0.1, pytest.approx(0.01)]
        backbone = {id(parameter) for parameter in net.network.backbone.parameters()}
        assert {id(parameter) for parameter in groups[1]["params"]} == backbone
        assert len(groups[0]["params"]) + len(backbone) == len(list(net.parameters()))

    @pytest.mark.parametrize(
        ("freeze", "still"),
        [
            ("none", set()),
            ("classifier", {"classifier"}),
            ("backbone", {"backbone"}),
            ("both", {"classifier", "backbone"}),
        ],
    )
    def test_frozen_parts_stay_as_they_are(self, freeze: str, still: set[str]) -> None:
        net = module(freeze=freeze, optimisation=SGD)
        before = {name: value.clone() for name, value in net.network.state_dict().items()}
        fit(net, [batch()] * 2, max_steps=2)
        changed = {
            name.split(".")[0]
            for name, value in net.network.state_dict().items()
            if not torch.equal(before[name], value)
        }
        assert changed == {"backbone", "classifier", "text", "attend1", "attend2"} - still

    @pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
    def test_it_can_overfit_one_batch(self, optimizer: str) -> None:
        rate = 0.05 if optimizer == "sgd" else 0.01
        net = module(
            optimisation=BackboneOptimisation(
                lr=rate, optimizer=optimizer, backbone_lr=1.0, schedule="constant"
            ),
            queries="all",
        )  # type: ignore[arg-type]
        losses = []
        net.log_terms = lambda loss, terms: losses.append(terms["ce"].item())  # type: ignore[method-assign, assignment]
        fit(net, [batch()] * 60, max_steps=60, gradient_clip_val=1.0)
        assert losses[-1] < 0.6 * losses[0]

    def test_the_backbone_comes_from_a_classifier(self, tmp_path: Path) -> None:
        classifier = pretrained(tmp_path / "digits.ckpt")
        net = module(pretrained=tmp_path / "digits.ckpt", freeze="both", optimisation=SGD)
        fit(net, [batch()], max_steps=1)
        assert torch.equal(net.network.backbone.conv1.weight, classifier.network.backbone.conv1.weight)
        assert torch.equal(net.network.classifier.weight, classifier.network.classifier.weight)

    def test_the_judge_comes_from_a_classifier(self, tmp_path: Path) -> None:
        classifier = pretrained(tmp_path / "judge.ckpt", loss="multi")
        net = module(judge=tmp_path / "judge.ckpt", judge_weight=1.0, optimisation=SGD)
        fit(net, [batch()], max_steps=1)
        assert net.judge is not None
        assert torch.equal(net.judge.classifier.weight, classifier.network.classifier.weight)  # type: ignore[attr-defined]
        with pytest.raises(ModelError, match=r"model.judge_weight needs a judge: set --model.judge"):
            fit(module(judge_weight=1.0), [batch()], max_steps=1)
        with pytest.raises(ModelError, match=r"set --model.judge_backbone"):
            fit(
                module(
                    judge=tmp_path / "judge.ckpt", judge_weight=1.0, judge_backbone=ResNetSize(8, (1,), (1,))
                ),
                [batch()],
                max_steps=1,
            )

    def test_a_checkpoint_is_judged_with_or_without_its_judge(self) -> None:
        state = module(judge_weight=1.0).state_dict()
        assert any(key.startswith("judge.") for key in state)
        net = module(judge_weight=0.0)
        checkpoint = {"global_step": 3, "state_dict": state}
        net.on_load_checkpoint(checkpoint)
        net.load_state_dict(checkpoint["state_dict"])
        with pytest.raises(ModelError, match="another model or size"):
            module(hidden=9).on_load_checkpoint({"global_step": 3, "state_dict": net.state_dict()})


class TestGround:
    def test_words_in_any_phrase(self) -> None:
        net = module().eval()
        assert isinstance(net, CanGround)
        images = batch().images
        maps = net.ground(images, ["seven", "a Seven", "nine"], torch.tensor([0, 0, 3]))
        assert maps.shape == (3, 16, 16)
        assert maps.dtype == torch.float32
        assert 0 <= maps.min() <= maps.max() <= 1
        assert torch.equal(maps[0], maps[1])
        assert_close(net.ground(images[3:], ["nine"], torch.tensor([0]))[0], maps[2], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("phrase", "count"), [("a dog", 0), ("six and seven", 2), ("", 0)])
    def test_a_phrase_that_is_no_class(self, phrase: str, count: int) -> None:
        with pytest.raises(
            ModelError,
            match=f"{phrase!r} has {count} of the words that this model knows; ask for one of zero, one",
        ):
            module().ground(batch().images, [phrase], torch.tensor([0]))

    def test_in_passes_it_is_the_same(self) -> None:
        queries = ["seven", "zero", "nine", "one", "two"], torch.tensor([0, 0, 3, 2, 1])
        one, two = (module(queries_per_pass=size).eval().ground(batch().images, *queries) for size in (32, 2))
        assert_close(one, two, rtol=1e-4, atol=1e-5)
        assert module().ground(batch().images, [], torch.zeros(0, dtype=torch.long)).shape == (0, 16, 16)

    def test_stitched_maps_are_those_of_the_network_without_stride(self) -> None:
        """A convolution of stride 2 and plain ones behind it see, moved by one pixel, what their dilated
        twins without stride see in between.
        """
        strided = module(
            backbone=ResNetSize(width=4, blocks=(1,), strides=(1,), stem_stride=2), stitch=True
        ).eval()
        dense = module(backbone=ResNetSize(width=4, blocks=(1,), strides=(1,), dilations=(2,))).eval()
        dense.network.load_state_dict(strided.network.state_dict())
        queries = torch.randn(2, 3, 40, 40), ["one", "two", "six"], torch.tensor([0, 1, 1])
        found, wanted = strided.ground(*queries), dense.ground(*queries)
        assert found.shape == wanted.shape == (3, 40, 40)
        assert_close(found[:, 10:-10, 10:-10], wanted[:, 10:-10, 10:-10], rtol=1e-4, atol=1e-5)
        assert (found[:, ::2, ::2] - found[:, 1::2, 1::2]).abs().max() > 1e-3

    def test_words_are_the_users(self) -> None:
        net = module(words=("dog", "cat")).eval()
        assert net.labels(["a cat, two dogs", "A DOG!"]).tolist() == [[False, True], [True, False]]
        assert net.ground(batch().images, ["a cat"], torch.tensor([0])).shape == (1, 16, 16)


class TestPretraining:
    @pytest.mark.parametrize("loss", ["single", "multi"])
    def test_it_learns_a_batch(self, loss: str) -> None:
        torch.manual_seed(0)
        net = DigitPretrain(
            backbone=TINY,
            image_size=16,
            loss=loss,
            contrast=0.3,
            optimisation=BackboneOptimisation(0.05, backbone_lr=1.0),
        )  # type: ignore[arg-type]
        rows = ImageTextBatch(batch().images, ["a seven", "a three", "a zero", "a one"], list("abcd"))
        losses = []
        net.log_terms = lambda loss, terms: losses.append(terms["ce"].item())  # type: ignore[method-assign, assignment]
        fit(net, [rows] * 60, max_steps=60, gradient_clip_val=1.0)
        assert losses[-1] < 0.5 * losses[0]

    def test_its_maps_are_those_of_class_activation(self) -> None:
        net = DigitPretrain(backbone=TINY, image_size=16).eval()
        maps = net.ground(batch().images, ["one", "two"], torch.tensor([3, 3]))
        expected = net.network.activation_maps(batch().images)[3, [1, 2]].clamp(min=0)
        assert_close(maps, expected / expected.amax((1, 2), keepdim=True).clamp(min=1e-6))

    @pytest.mark.parametrize(("loss", "expected"), [("single", 0.5), ("multi", 0.75)])
    def test_accuracy(self, loss: str, expected: float) -> None:
        """The largest logit is that of three, and only those of three and four are positive. Three is there,
        seven is there, a nine is not.
        """
        net = DigitPretrain(backbone=TINY, image_size=16, loss=loss).eval()  # type: ignore[arg-type]
        net.network.classifier.weight.data.zero_()
        net.network.classifier.bias.data.copy_(torch.tensor([-1, -1, -1, 2.0, 1.0, -1, -1, -1, -1, -1]))
        phrases, there = (
            (["three", "seven"], [1, 1])
            if loss == "single"
            else (["three", "four", "seven", "nine"], [1, 1, 1, 0])
        )
        boxes = [torch.ones(count, 4) for count in there]
        asked = torch.zeros(len(phrases), dtype=torch.long)
        judged = GroundingBatch(
            batch().images[:1], phrases, asked, asked, boxes, torch.tensor([[16, 16]]), phrases
        )
        logged: dict[str, Any] = {}
        net.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[method-assign, assignment]
        net.test_step(judged, 0)
        assert logged["test/label_accuracy"].compute().item() == expected


def test_gradients_reach_every_part() -> None:
    net = module(queries="all")
    loss, _ = train_step(net, batch())
    loss.backward()
    assert set(gradients(net)) == {name for name, _ in net.named_parameters()}
