from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.data import DataLoader

from datamodules.batches import GroundingBatch, ImageTextBatch
from lightning_modules.capabilities import CanGround
from lightning_modules.errors import ModelError
from lightning_modules.mcb_attention.losses import Queries, total_variation
from lightning_modules.mcb_attention.module import MCBAttention
from lightning_modules.mcb_attention.options import (
    FINE_TUNING,
    FROM_SCRATCH,
    GroundingOptions,
    ImageOptions,
    JudgeOptions,
    LossWeights,
    QueryOptions,
)
from lightning_modules.mcb_attention.pretrain import DigitPretrain
from lightning_modules.optimisation import Optimisation
from networks.mcb_attention import AttentionOptions, ResNetSize
from tests.lightning_modules.conftest import fit, gradients, quiet_trainer, train_step

TINY = ResNetSize(width=4, blocks=(1,), strides=(1,))
ATTENTION = AttentionOptions(text_width=6, sketch=33, hidden=8)
IMAGES = ImageOptions(size=16)
SGD = replace(FINE_TUNING, lr=0.02, schedule="constant")


def module(**options: Any) -> MCBAttention:
    """A small module in training mode."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"backbone": TINY, "attention": ATTENTION, "images": IMAGES}
    return MCBAttention(**{"judge": JudgeOptions(backbone=TINY), **sizes, **options}).train()


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
    classifier = DigitPretrain(backbone=TINY, images=IMAGES, **options)
    save(classifier, path)
    return classifier


def loader(batches: list[ImageTextBatch]) -> DataLoader:
    """Ready-made batches."""
    return DataLoader(batches, batch_size=None, collate_fn=lambda row: row)


def save(classifier: DigitPretrain, path: Path) -> None:
    """Writes a checkpoint, as far as weights are read from it."""
    state = {f"network.{name}": value for name, value in classifier.network.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.6.6"}, path)


def judged(path: Path | None, **options: Any) -> MCBAttention:
    """A module with a judge from a file."""
    arguments = {"judge": JudgeOptions(path, TINY), "weights": LossWeights(judge=1.0), **options}
    return module(optimisation=SGD, **arguments)


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
        loss, terms = train_step(module(weights=LossWeights(pair=0.0, penalty=0.0)), batch())
        assert loss.item() == pytest.approx(terms["ce"].item())
        assert set(terms) == {"ce", "penalty", "loss"}

    def test_it_is_the_weighted_sum_of_its_terms(self) -> None:
        options = LossWeights(
            classification=0.5, pair=0.3, penalty=0.7, absent=1.5, smoothness=0.6, complement=2.0, judge=0.9
        )
        loss, terms = train_step(module(weights=options, queries=QueryOptions(absent=1.0)), batch())
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
        net = module(queries=QueryOptions("all"), attention=replace(ATTENTION, post_norm="none")).eval()
        images = batch().images
        labels = net.labels(batch().captions)
        _, terms = train_step(net, batch())
        image, classes = labels.nonzero(as_tuple=True)
        features = net.network.backbone(images)
        maps = net.network.attention_logits(features, classes, image).sigmoid()
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
        net = module(weights=LossWeights(judge=1.0, classification=0.0, pair=0.0))
        seen: list[Tensor] = []
        assert net.judge is not None
        net.judge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        before = {name: value.clone() for name, value in net.judge.state_dict().items()}
        loss, _ = train_step(net, batch())
        loss.backward()
        (parts,) = seen
        under, rest = parts.chunk(2)
        black = net.black(torch.device("cpu"))
        assert_close(under + rest - black, batch().images)
        assert all(parameter.grad is None for parameter in net.judge.parameters())
        assert net.network.attend2.weight.grad is not None
        assert all(torch.equal(before[name], value) for name, value in net.judge.state_dict().items())

    def test_a_judge_that_is_sure_costs_nothing(self) -> None:
        net = module(weights=LossWeights(judge=1.0))
        labels = net.labels(["a seven and a three"])
        queries = Queries(torch.tensor([7]), torch.tensor([0]), torch.tensor([True]))
        answers = torch.full((2, 10), -30.0)
        answers[0, 7] = answers[1, 3] = 30.0
        assert net.judge is not None
        net.judge.forward = lambda images: answers  # type: ignore[method-assign, assignment]
        under, rest = net.judge_terms(torch.randn(1, 3, 16, 16), labels, torch.rand(1, 16, 16), queries)
        assert (under.item(), rest.item()) == pytest.approx((0.0, 0.0), abs=1e-9)

    def test_a_loss_that_is_not_finite_is_said(self) -> None:
        net = module()
        net.network.classifier.bias.data[0] = torch.nan
        with pytest.raises(ModelError, match="the loss became nan at step 0"):
            train_step(net, batch())


class TestTraining:
    def test_backbone_learns_at_a_tenth(self) -> None:
        net = module()
        net.planned_steps = lambda: (10, 10)  # type: ignore[method-assign]
        groups = net.configure_optimizers()["optimizer"].param_groups
        assert [group["initial_lr"] for group in groups] == [0.1, pytest.approx(0.01)]
        assert [group["weight_decay"] for group in groups] == [5e-4, 5e-4]
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
    def test_it_can_overfit_one_batch(self, optimizer: Any) -> None:
        rate = 0.05 if optimizer == "sgd" else 0.01
        optimisation = Optimisation(rate, optimizer, weight_decay=5e-4, schedule="constant")
        net: Any = module(optimisation=optimisation, queries=QueryOptions("all"))
        losses: list[float] = []
        net.log_terms = lambda loss, terms: losses.append(terms["ce"].item())
        fit(net, [batch()] * 60, max_steps=60, gradient_clip_val=1.0)
        assert losses[-1] < 0.6 * losses[0]

    def test_the_backbone_comes_from_a_classifier(self, tmp_path: Path) -> None:
        classifier = pretrained(tmp_path / "digits.ckpt")
        net = module(pretrained=tmp_path / "digits.ckpt", freeze="both", optimisation=SGD)
        fit(net, [batch()], max_steps=1)
        assert torch.equal(net.network.backbone.conv1.weight, classifier.network.backbone.conv1.weight)
        assert torch.equal(net.network.classifier.weight, classifier.network.classifier.weight)

    def test_the_judge_comes_from_a_classifier(self, tmp_path: Path) -> None:
        path = tmp_path / "judge.ckpt"
        classifier = pretrained(path, loss="multi")
        net = judged(path)
        fit(net, [batch()], max_steps=1)
        assert net.judge is not None
        assert torch.equal(net.judge.classifier.weight, classifier.network.classifier.weight)
        with pytest.raises(ModelError, match=r"judge needs a judge: set --model\.judge\.pretrained"):
            fit(judged(None), [batch()], max_steps=1)
        larger = JudgeOptions(path, ResNetSize(8, (1,), (1,)))
        with pytest.raises(ModelError, match=r"size mismatch.+--model\.judge\.pretrained names this file"):
            fit(judged(path, judge=larger), [batch()], max_steps=1)

    def test_a_checkpoint_leaves_the_judge_out_and_is_used_without_it(self, tmp_path: Path) -> None:
        path = tmp_path / "judge.ckpt"
        pretrained(path, loss="multi")
        trainer = fit(judged(path), [batch()], max_steps=1)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        assert not any(name.startswith("judge.") for name in state)
        for net in (module(), judged(None), judged(path)):
            quiet_trainer().test(net, [], ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
            assert torch.equal(net.network.attend2.weight, state["network.attend2.weight"])
        other = module(attention=replace(ATTENTION, hidden=9))
        with pytest.raises(ModelError, match="another model or size"):
            other.on_load_checkpoint({"global_step": 3, "state_dict": state})

    def test_a_run_is_resumed_with_the_judge_that_it_began_with(self, tmp_path: Path) -> None:
        path = tmp_path / "judge.ckpt"
        pretrained(path, loss="multi")
        trainer = fit(judged(path), [batch()], max_steps=1)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        resume = {"ckpt_path": tmp_path / "last.ckpt", "weights_only": True}
        quiet_trainer(max_steps=2).fit(judged(path), loader([batch()] * 2), **resume)
        torch.manual_seed(2)
        other = DigitPretrain(backbone=TINY, images=IMAGES, loss="multi")
        save(other, path)
        with pytest.raises(ModelError, match=r"other weights of judge: set --model\.judge\.pretrained"):
            quiet_trainer(max_steps=2).fit(judged(path), loader([batch()] * 2), **resume)


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
        one, two = (
            module(grounding=GroundingOptions(queries_per_pass=size)).eval().ground(batch().images, *queries)
            for size in (32, 2)
        )
        assert_close(one, two, rtol=1e-4, atol=1e-5)
        assert module().ground(batch().images, [], torch.zeros(0, dtype=torch.long)).shape == (0, 16, 16)

    def test_stitched_maps_are_those_of_the_network_without_stride(self) -> None:
        """A convolution of stride 2 and plain ones behind it see, moved by one pixel, what their dilated
        twins without stride see in between.
        """
        backbone = ResNetSize(width=4, blocks=(1,), strides=(1,), stem_stride=2)
        strided = module(backbone=backbone, grounding=GroundingOptions(stitch=True)).eval()
        dense = module(backbone=replace(backbone, stem_stride=1, dilations=(2,))).eval()
        dense.network.load_state_dict(strided.network.state_dict())
        queries = torch.randn(2, 3, 40, 40), ["one", "two", "six"], torch.tensor([0, 1, 1])
        stitched = strided.ground(*queries)
        expected = dense.ground(*queries)
        assert stitched.shape == expected.shape == (3, 40, 40)
        assert_close(stitched[:, 10:-10, 10:-10], expected[:, 10:-10, 10:-10], rtol=1e-4, atol=1e-5)
        assert (stitched[:, ::2, ::2] - stitched[:, 1::2, 1::2]).abs().max() > 1e-3

    def test_words_are_the_users(self) -> None:
        net = module(words=("dog", "cat")).eval()
        assert net.labels(["a cat, two dogs", "A DOG!"]).tolist() == [[False, True], [True, False]]
        assert net.ground(batch().images, ["a cat"], torch.tensor([0])).shape == (1, 16, 16)


class TestPretraining:
    @pytest.mark.parametrize("loss", ["single", "multi"])
    def test_it_learns_a_batch(self, loss: Any) -> None:
        torch.manual_seed(0)
        net: Any = DigitPretrain(
            backbone=TINY,
            images=IMAGES,
            loss=loss,
            contrast=0.3,
            optimisation=replace(FROM_SCRATCH, lr=0.05),
        )
        rows = ImageTextBatch(batch().images, ["a seven", "a three", "a zero", "a one"], list("abcd"))
        losses: list[float] = []
        net.log_terms = lambda loss, terms: losses.append(terms["ce"].item())
        fit(net, [rows] * 60, max_steps=60, gradient_clip_val=1.0)
        assert losses[-1] < 0.5 * losses[0]

    def test_its_maps_are_those_of_class_activation(self) -> None:
        net = DigitPretrain(backbone=TINY, images=IMAGES).eval()
        maps = net.ground(batch().images, ["one", "two"], torch.tensor([3, 3]))
        expected = net.network.activation_maps(batch().images)[3, [1, 2]].clamp(min=0)
        assert_close(maps, expected / expected.amax((1, 2), keepdim=True).clamp(min=1e-6))

    @pytest.mark.parametrize(("loss", "expected"), [("single", 0.5), ("multi", 0.75)])
    def test_accuracy(self, loss: Any, expected: float) -> None:
        """The largest logit is that of three, and only those of three and four are positive. Three is there,
        seven is there, a nine is not.
        """
        net: Any = DigitPretrain(backbone=TINY, images=IMAGES, loss=loss).eval()
        net.network.classifier.weight.data.zero_()
        net.network.classifier.bias.data.copy_(torch.tensor([-1, -1, -1, 2.0, 1.0, -1, -1, -1, -1, -1]))
        phrases = ["three", "seven"]
        if loss == "multi":
            phrases += ["four", "nine"]
        boxes = [torch.ones(0 if phrase == "nine" else 1, 4) for phrase in phrases]
        zeros = torch.zeros(len(phrases), dtype=torch.long)
        queries = GroundingBatch(
            batch().images[:1], phrases, zeros, zeros, boxes, torch.tensor([[16, 16]]), ["image"], phrases
        )
        logged: dict[str, Any] = {}
        net.log = lambda name, value, **_: logged.update({name: value})
        net.test_step(queries, 0)
        assert logged["test/label_accuracy"].compute().item() == expected


def test_gradients_reach_every_part() -> None:
    net = module(queries=QueryOptions("all"))
    loss, _ = train_step(net, batch())
    loss.backward()
    assert set(gradients(net)) == {name for name, _ in net.named_parameters()}
