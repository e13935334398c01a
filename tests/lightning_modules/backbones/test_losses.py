from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.backbones.albef import MaskedTexts
from lightning_modules.backbones.losses import (
    Contrast,
    Features,
    contrastive_loss,
    legacy_distillation,
    mask_tokens,
    masked_language_loss,
    matching_loss,
    mentioned_in,
    negative_weights,
    same_text,
)
from lightning_modules.backbones.options import DistillationOptions
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.layers.tokenizer import Tokens
from tests.lightning_modules.conftest import gradients, train_step
from tests.networks.albef_parity import inputs, outputs, tiny_albef
from tests.parity import assert_parity

TERMS = {"itc": "ita", "itm": "itm", "mlm": "mlm"}  # our names of the terms, and the reference's
PARITY_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[MASK]"] + [f"w{number}" for number in range(296)]


# Against the public code of ALBEF and SelfEQ, through the module's own training step.


def parity_step(
    build: Callable[..., Any], epochs: float, dtype: torch.dtype, **arguments: Any
) -> tuple[VisionLanguagePretrain, Tensor, dict[str, Tensor]]:
    module = build(VisionLanguagePretrain, tiny_albef(), PARITY_WORDS, **arguments).to(dtype)
    chosen = inputs()["mlm_labels"] != -100
    module.backbone.tokenize = lambda texts: Tokens(inputs()["ids_i"], inputs()["att_i"])
    module.backbone.mask = lambda tokens: MaskedTexts(tokens, inputs()["mlm_ids"], chosen)
    batch = ImageTextBatch(inputs()["images"].to(dtype), ["a", "b", "c", "d"], ["0", "1", "2", "3"])
    return module, *train_step(module, batch, epochs)


@pytest.mark.parametrize(("epochs", "alpha"), [(0.0, "0.0"), (1.0, "0.4")])
def test_terms_are_those_of_the_reference(
    build: Callable[..., Any], first_choice: None, epochs: float, alpha: str
) -> None:
    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        _, loss, terms = parity_step(build, epochs, dtype)
        return {"itc": terms["itc"], "itm": terms["itm"], "mlm": terms["mlm"], "sum": loss}

    reference = {ours: outputs()[f"loss_{theirs}_a{alpha}"] for ours, theirs in TERMS.items()}
    assert_parity(numbers, reference | {"sum": torch.stack(list(reference.values())).sum()})


def test_gradients_are_those_of_the_reference(build: Callable[..., Any], first_choice: None) -> None:
    prefix = "train_grad::"
    reference = {
        name.removeprefix(prefix): value for name, value in outputs().items() if name.startswith(prefix)
    }
    assert len(reference) == 4

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        module, loss, _ = parity_step(build, 1.0, dtype)
        loss.backward()
        all_gradients = gradients(module.network)
        assert not any("_m." in name for name in all_gradients), "momentum twins are not trained"
        return {name: all_gradients[name] for name in reference}

    assert_parity(numbers, reference)


def test_state_after_a_step_is_that_of_the_reference(build: Callable[..., Any], first_choice: None) -> None:
    reference = {
        name.removeprefix("after::"): value for name, value in outputs().items() if name.startswith("after::")
    }
    assert set(reference) == {"image_queue", "text_queue", "queue_ptr", "vision_proj_m.weight"}
    pointer = reference.pop("queue_ptr")

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        module, _, _ = parity_step(build, 1.0, dtype)
        assert torch.equal(module.network.queue_ptr, pointer)
        return {name: module.network.state_dict()[name] for name in reference}

    assert_parity(numbers, reference)


@pytest.mark.parametrize(("epochs", "alpha"), [(0.0, "0.0"), (1.0, "0.4")])
def test_legacy_distillation_is_that_of_selfeq(
    build: Callable[..., Any], first_choice: None, epochs: float, alpha: str
) -> None:
    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        _, _, terms = parity_step(
            build, epochs, dtype, backbone={"distillation": DistillationOptions(legacy_mlm=True)}
        )
        return {name: terms[name] for name in TERMS}

    assert_parity(
        numbers, {ours: outputs()[f"selfeq::vl_{theirs}_a{alpha}"] for ours, theirs in TERMS.items()}
    )
    assert (outputs()["selfeq::vl_mlm_a0.4"] - outputs()["loss_mlm_a0.4"]).abs() > 0.1, (
        "the two readings of MLM must be told apart"
    )


@torch.no_grad()
def test_negatives_are_weighted_as_in_the_reference() -> None:
    reference = outputs()

    def numbers(dtype: torch.dtype) -> dict[str, Tensor]:
        contrast = contrast_after_momentum(dtype)
        image_weights = negative_weights(contrast.text_to_image)
        text_weights = negative_weights(contrast.image_to_text)
        assert image_weights.argmax(dim=1).tolist() == reference["neg_idx_image"].tolist()
        assert text_weights.argmax(dim=1).tolist() == reference["neg_idx_text"].tolist()
        return {"neg_weights_t2i": normalised(image_weights), "neg_weights_i2t": normalised(text_weights)}

    assert_parity(
        numbers, {f"neg_weights_{way}": normalised(reference[f"neg_weights_{way}"]) for way in ("t2i", "i2t")}
    )


def contrast_after_momentum(dtype: torch.dtype) -> Contrast:
    """The contrastive loss, and its similarities, after the momentum twins were updated."""
    network = tiny_albef().to(dtype)
    network.update_momentum()
    images = inputs()["images"].to(dtype)
    ids = inputs()["ids_i"]
    mask = inputs()["att_i"]
    image = Features(
        network.image_feature(network.encode_image(images)),
        network.image_feature(network.encode_image(images, momentum=True), momentum=True),
    )
    text = Features(
        network.text_feature(network.encode_text(ids, mask)),
        network.text_feature(network.encode_text(ids, mask, momentum=True), momentum=True),
    )
    return contrastive_loss(image, text, network.image_queue, network.text_queue, network.temp, 0.0)


def normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True)


# Each function on numbers of one's own.


def test_contrastive_loss_by_hand() -> None:
    """One row, one feature in each queue: two-way cross-entropies of cosines 1 and 0 (texts), and 1 and .6
    (images).
    """
    one = torch.tensor([[1.0, 0.0]])
    contrast = contrastive_loss(
        Features(one, one),
        Features(one, one),
        torch.tensor([[0.6], [0.8]]),
        torch.tensor([[0.0], [1.0]]),
        torch.tensor(0.5),
        alpha=0.0,
    )
    assert contrast.loss.item() == pytest.approx(
        (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-0.8))) / 2, abs=1e-6
    )
    assert contrast.image_to_text.tolist() == [[2.0]]


def test_contrastive_targets_mix_the_diagonal_with_the_momentum_model() -> None:
    """With targets equal to the prediction the loss is the prediction's entropy; alpha interpolates linearly
    between that and the one-hot loss.
    """
    torch.manual_seed(0)
    image, text = (torch.nn.functional.normalize(torch.randn(3, 4), dim=1) for _ in range(2))
    queues = [torch.nn.functional.normalize(torch.randn(4, 5), dim=0) for _ in range(2)]
    hard, mixed, soft = (
        contrastive_loss(
            Features(image, image), Features(text, text), *queues, torch.tensor(0.3), alpha
        ).loss.item()
        for alpha in (0.0, 0.25, 1.0)
    )
    entropies = [
        torch.distributions.Categorical(logits=one @ torch.cat([other.t(), queue], dim=1) / 0.3)
        .entropy()
        .mean()
        .item()
        for one, other, queue in ((image, text, queues[1]), (text, image, queues[0]))
    ]
    assert soft == pytest.approx(sum(entropies) / 2, abs=1e-5)
    assert mixed == pytest.approx(0.75 * hard + 0.25 * soft, abs=1e-5)


def test_contrastive_loss_trains_the_online_features_and_the_temperature_alone() -> None:
    online = torch.randn(2, 3).requires_grad_()
    momentum = torch.randn(2, 3)
    temperature = torch.tensor(0.1, requires_grad=True)
    contrast = contrastive_loss(
        Features(online, momentum),
        Features(online, momentum),
        torch.randn(3, 4),
        torch.randn(3, 4),
        temperature,
        0.4,
    )
    contrast.loss.backward()
    assert online.grad is not None
    assert temperature.grad is not None
    assert not contrast.image_to_text.requires_grad


def test_negatives_by_hand() -> None:
    similarities = torch.tensor(
        [[9.0, math.log(1), math.log(3)], [0.0, 9.0, 0.0], [math.log(4), math.log(1), 9.0]]
    )
    assert_close(
        normalised(negative_weights(similarities)),
        torch.tensor([[0, 0.25, 0.75], [0.5, 0, 0.5], [0.8, 0.2, 0]]),
    )
    assert_close(normalised(negative_weights(similarities, power=0.5))[2], torch.tensor([2 / 3, 1 / 3, 0]))
    excluded = torch.tensor([[False, False, True], [True, False, True], [False, False, False]])
    assert_close(
        normalised(negative_weights(similarities, excluded=excluded)),
        torch.tensor([[0, 1, 0], [0.5, 0, 0.5], [0.8, 0.2, 0]]),
    )


def test_negatives_of_a_model_that_is_sure() -> None:
    """Soft-max weights of all the others underflow to zero; the nearest other row is still the one to draw,
    and never an excluded one.
    """
    similarities = torch.tensor([[1000.0, 0.0, 500.0], [0.0, 1000.0, 500.0], [0.0, 500.0, 1000.0]])
    assert_close(
        normalised(negative_weights(similarities)), torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 1, 0]])
    )
    excluded = torch.tensor([[False, False, True], [False, False, False], [False, False, False]])
    assert_close(normalised(negative_weights(similarities, excluded=excluded))[0], torch.tensor([0.0, 1, 0]))


def test_negatives_can_be_drawn_whatever_the_model_says() -> None:
    weights = negative_weights(torch.full((3, 3), math.nan))
    assert weights.isfinite().all()
    assert torch.multinomial(weights, 1).shape == (3, 1)


def test_mentioned_in() -> None:
    mentioned = [
        frozenset({"a man", "the red hat", "hat"}),
        frozenset({"dog"}),
        frozenset({"Red hat", "man"}),
    ]
    assert mentioned_in(["man", "a red hat", "the dog"], mentioned).tolist() == [
        [True, False, True],
        [True, False, True],
        [False, True, False],
    ]


def test_same_text() -> None:
    assert same_text(["man", "dog", "man"]).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_matching_loss_by_hand() -> None:
    positive = torch.tensor([[0.0, 1.0]])
    negative = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    expected = (math.log(1 + math.exp(-1)) + math.log(2) + math.log(1 + math.exp(-2))) / 3
    assert matching_loss(positive, negative).item() == pytest.approx(expected, abs=1e-6)


def test_masking_keeps_to_berts_shares() -> None:
    torch.manual_seed(0)
    ids = torch.randint(10, 110, (400, 50))
    ids[:, 0] = 1
    ids[:, 40:] = 0
    masked, chosen = mask_tokens(ids, special_ids=[0, 1], mask_id=5, vocab_size=1000, probability=0.15)
    assert not chosen[:, 0].any()
    assert not chosen[:, 40:].any()
    assert chosen[:, 1:40].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert (masked[chosen] == 5).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (masked[chosen] == ids[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_masking_chooses_a_token_if_there_is_one() -> None:
    ids = torch.tensor([[1, 7], [1, 0]])
    for _ in range(20):
        assert mask_tokens(ids, [0, 1], 5, 10, probability=0.0)[1].tolist() == [[False, True], [False, False]]
    masked, chosen = mask_tokens(torch.tensor([[1, 0]]), [0, 1], 5, 10, probability=0.5)
    assert not chosen.any()
    assert masked.tolist() == [[1, 0]]


def test_masked_language_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])
    labels = torch.tensor([0])
    assert masked_language_loss(logits, labels, None, 0.0).item() == pytest.approx(math.log(4), abs=1e-6)
    momentum = torch.tensor([[0.0, 0.0]])
    soft = (math.log(4) + math.log(4 / 3)) / 2
    assert masked_language_loss(logits, labels, momentum, 0.4).item() == pytest.approx(
        0.6 * math.log(4) + 0.4 * soft, abs=1e-6
    )


def test_masked_language_loss_of_nothing_is_a_differentiable_zero() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = masked_language_loss(logits, torch.zeros(0, dtype=torch.long), torch.zeros(0, 5), 0.4)
    assert loss.item() == 0
    loss.backward()


def test_legacy_distillation_normalises_over_tokens() -> None:
    """Two tokens, two words, only the first token predicted: for each word a soft-max over the two tokens."""
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]]])
    soft = legacy_distillation(logits, torch.tensor([[True, False]]), torch.zeros(1, 2, 2))
    assert soft.item() == pytest.approx((math.log(2) + math.log(4)) / 2, abs=1e-6)
