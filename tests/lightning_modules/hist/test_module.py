from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.backbones.albef import EncodedImages, MaskedTexts
from lightning_modules.backbones.losses import Contrast, Features
from lightning_modules.backbones.options import DistillationOptions, MapOptions, NegativeOptions
from lightning_modules.errors import ModelError
from lightning_modules.hist.module import AdditionOptions, HISTFinetune, LossWeights
from lightning_modules.optimisation import Optimisation
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.layers.class_activation import minmax
from networks.layers.tokenizer import Tokens, pre_caption
from tests.lightning_modules.conftest import (
    MAP_LAYERS,
    NETWORK,
    WORDS,
    fit,
    gradients,
    tiny_network,
    train_step,
)

Build = Callable[..., Any]
NO_DISTILLATION = {"distillation": DistillationOptions(share=0.0)}
PARTNERS: dict[str, list[str | None]] = {
    "none": [None, None, None, None],
    "all": ["the blue hat", "a car", "big tree", "the old man on the left"],
    "some": [None, "a small car of the old man", None, "the dog"],
}


def hist_batch(partners: str = "some", rows: int = 4) -> PhraseBatch:
    generator = torch.Generator().manual_seed(1)
    phrases = ["A red dog", "the tall man", "small green car on the left", "Hat."]
    images = torch.randn(4, 3, 32, 32, generator=generator)
    return PhraseBatch(
        images[:rows],
        phrases[:rows],
        ["dog", "man", "car", "hat"][:rows],
        PARTNERS[partners][:rows],
        list("0123")[:rows],
    )


def mask_first_word(tokens: Tokens) -> MaskedTexts:
    chosen = torch.zeros_like(tokens.ids, dtype=torch.bool)
    chosen[:, 1] = True
    return MaskedTexts(tokens, tokens.ids.masked_fill(chosen, 4), chosen)


def map_options(**changes: Any) -> dict[str, MapOptions]:
    return {"maps": MapOptions(layers=MAP_LAYERS, **changes)}


class OneByOne:
    """HIST's losses as the paper writes them: every text in passes of its own, with an image that is encoded
    for it alone.

    The switches are those of the module; ``mean_all`` divides by the longest text of the same kind, as
    separate passes would.
    """

    def __init__(self, module: HISTFinetune, batch: PhraseBatch, distillation: float) -> None:
        self.network = copy.deepcopy(module.network)
        self.backbone = module.backbone
        self.tokenizer = module.backbone.tokenizer
        self.module = module
        self.batch = batch
        self.rows = range(len(batch))
        self.distillation = distillation
        with torch.no_grad():
            parameters = dict(self.network.named_parameters())
            for name, twin in parameters.items():
                if "_m." in name:
                    twin.mul_(self.network.momentum).add_(
                        parameters[name.replace("_m.", ".")], alpha=1 - self.network.momentum
                    )

    def ids(self, text: str) -> Tensor:
        return self.tokenizer([pre_caption(text, 50)]).ids

    def fuse(self, ids: Tensor, row: int, momentum: bool = False, **options: Any) -> Any:
        ones = torch.ones_like(ids)
        image = self.network.encode_image(self.batch.images[row : row + 1], momentum)
        return self.network.fuse(
            self.network.encode_text(ids, ones, momentum), ones, image, momentum=momentum, **options
        )

    def features(self, texts: list[str], momentum: bool) -> tuple[Tensor, Tensor]:
        network = self.network
        images = [
            network.image_feature(network.encode_image(self.batch.images[row : row + 1], momentum), momentum)
            for row in self.rows
        ]
        hidden = [
            network.encode_text(self.ids(text), torch.ones_like(self.ids(text)), momentum) for text in texts
        ]
        return torch.cat(images), torch.cat([network.text_feature(one, momentum) for one in hidden])

    def alignment(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """ITC and ITM of one text for each image."""
        network, (images, words) = self.network, self.features(texts, momentum=False)
        momentum_images, momentum_words = (tensor.detach() for tensor in self.features(texts, momentum=True))
        contrast: list[Tensor] = []
        negatives: list[list[int]] = []
        for online, momentum, keys in (
            (images, momentum_images, torch.cat([momentum_words, network.text_queue.t()])),
            (words, momentum_words, torch.cat([momentum_images, network.image_queue.t()])),
        ):
            nearest = []
            for row in self.rows:
                logits = keys @ online[row] / network.temp
                target = self.distillation * F.softmax(keys @ momentum[row] / network.temp, dim=0).detach()
                target[row] += 1 - self.distillation
                contrast.append(-(target * F.log_softmax(logits, dim=0)).sum())
                nearest.append(
                    max(
                        (other for other in self.rows if other != row), key=lambda other: logits[other].item()
                    )
                )
            negatives.append(nearest)
        matching: list[Tensor] = []
        for row in self.rows:
            for text, image, label in (
                (row, row, 1),
                (negatives[0][row], row, 0),
                (row, negatives[1][row], 0),
            ):
                logits = network.match_logits(self.fuse(self.ids(texts[text]), image).hidden)
                matching.append(-F.log_softmax(logits, dim=1)[0, label])
        return torch.stack(contrast).mean(), torch.stack(matching).mean()

    def language(self) -> Tensor:
        losses = []
        for row in self.rows:
            ids = self.ids(self.batch.phrases[row])
            masked = mask_first_word(Tokens(ids, torch.ones_like(ids))).masked_ids
            prediction = F.log_softmax(self.network.mlm_logits(self.fuse(masked, row).hidden[0, 1]), dim=-1)
            teacher = F.softmax(
                self.network.mlm_logits(self.fuse(masked, row, momentum=True).hidden[0, 1], momentum=True),
                dim=-1,
            ).detach()
            losses.append(
                -(1 - self.distillation) * prediction[ids[0, 1]]
                - self.distillation * (teacher * prediction).sum()
            )
        return torch.stack(losses).mean()

    def raw_map(self, text: str, row: int, longest: int) -> Tensor:
        fused = self.fuse(self.ids(text), row, attention_layers=self.backbone.map_layers, create_graph=True)
        logits = self.network.match_logits(fused.hidden)[0]
        target = {
            "itm_logit": logits[1],
            "itm_loss": F.cross_entropy(logits, torch.tensor(1)),
            "log_probability": F.log_softmax(logits, dim=0)[1],
        }[self.backbone.maps.target]
        length = {"mean_all": longest, "sum": 1}.get(self.backbone.maps.tokens)
        maps = []
        for attention in fused.attentions:
            (gradient,) = torch.autograd.grad(target, attention, create_graph=True)
            product = (gradient.clamp(min=0) if self.backbone.maps.relu == "per_element" else gradient)[
                0, :, :, 1:
            ] * attention[0, :, :, 1:]
            product = product[:, 1:] if self.backbone.maps.tokens == "mean_no_special" else product
            maps.append(
                (product.mean(dim=0).sum(dim=0) / (length or product.shape[1])).clamp(min=0).view(4, 4)
            )
        return torch.stack(maps).mean(dim=0)

    def addition(self) -> Tensor:
        losses = []
        pairs = [
            (row, partner)
            for row, partner in zip(self.rows, self.batch.partners, strict=True)
            if partner is not None
        ]
        texts = [
            (self.batch.phrases[row], partner, f"{self.batch.phrases[row]} and {partner}")
            for row, partner in pairs
        ]
        longest = [max(self.ids(text).shape[1] for text in kind) for kind in zip(*texts, strict=True)]
        for (row, _), triple in zip(pairs, texts, strict=True):
            maps = [self.raw_map(text, row, length) for text, length in zip(triple, longest, strict=True)]
            if self.module.addition.maps == "minmax":
                maps = [minmax(one) for one in maps]
            joined = (
                torch.maximum(maps[0], maps[1])
                if self.module.addition.combine == "max"
                else maps[0] + maps[1]
            )
            joined = joined.clamp(max=1) if self.module.addition.combine == "clamp" else joined
            difference = (joined - maps[2]).abs()
            losses.append(difference.mean() if self.module.addition.maps == "minmax" else difference.sum())
        return torch.stack(losses).mean() if losses else torch.zeros(())

    def terms(self) -> dict[str, Tensor]:
        terms = dict(zip(("itc", "itm"), self.alignment(self.batch.phrases), strict=True)) | {
            "mlm": self.language()
        }
        if self.module.weights.subject:
            terms |= zip(("subject_itc", "subject_itm"), self.alignment(self.batch.subjects), strict=True)
        if self.module.weights.add:
            terms["add"] = self.addition()
        return terms


def assert_same_step(
    module: HISTFinetune, batch: PhraseBatch, epochs: float, weights: dict[str, float]
) -> None:
    """One step gives the terms, the loss and the gradients that texts one by one give. ``weights``: of the
    terms other than ITC, ITM, MLM.
    """
    module.backbone.mask = mask_first_word
    naive = OneByOne(module, batch, module.backbone.distillation.share * min(1.0, epochs))
    loss, logged = train_step(module, batch, epochs)
    expected = naive.terms()
    assert set(logged) == {*expected, "loss"}
    for name, value in expected.items():
        assert_close(
            logged[name], value.detach(), rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    total = sum(weights.get(name, 1.0) * value for name, value in expected.items())
    assert_close(loss, total, rtol=1e-5, atol=1e-6)
    loss.backward()
    total.backward()
    found, wanted = gradients(module.network), gradients(naive.network)
    assert set(found) == set(wanted)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() <= 2e-4 * gradient.norm() + 1e-5, name


@pytest.mark.usefixtures("first_choice")
class TestStep:
    @pytest.mark.parametrize("partners", PARTNERS)
    @pytest.mark.parametrize("epochs", [0.0, 0.5])
    def test_is_that_of_texts_one_by_one(self, build: Build, partners: str, epochs: float) -> None:
        assert_same_step(build(HISTFinetune), hist_batch(partners), epochs, {})

    def test_add_term_under_autocast_keeps_its_precision(self, build: Build) -> None:
        module, batch = build(HISTFinetune), hist_batch("all")
        images = module.network.encode_image(batch.images).detach()
        values = []
        for enabled in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                values.append(
                    module.addition_term(EncodedImages(images, images, Features(images, images)), batch)
                )
        assert values[1].dtype == torch.float32
        assert_close(values[1], values[0], rtol=0.02, atol=0.0)
        values[1].backward()
        assert all(gradient.isfinite().all() for gradient in gradients(module).values())

    def test_add_term_is_large_enough_to_be_seen_in_these_tests(self, build: Build) -> None:
        _, logged = train_step(build(HISTFinetune), hist_batch("all"))
        assert logged["add"] > 1e-3

    @pytest.mark.parametrize(("subject", "add"), [(0.0, 1.0), (1.0, 0.0), (0.5, 3.0)])
    def test_weights(self, build: Build, subject: float, add: float) -> None:
        module = build(HISTFinetune, weights=LossWeights(subject, add))
        assert_same_step(
            module, hist_batch(), 0.5, {"subject_itc": subject, "subject_itm": subject, "add": add}
        )

    def test_without_either_loss_it_is_pretraining(self, build: Build) -> None:
        module = build(HISTFinetune, weights=LossWeights(0.0, 0.0))
        plain = build(VisionLanguagePretrain)
        batch = hist_batch()
        module.backbone.mask = mask_first_word
        plain.backbone.mask = mask_first_word
        loss, logged = train_step(module, batch)
        expected, _ = train_step(plain, ImageTextBatch(batch.images, batch.phrases, batch.keys))
        assert set(logged) == {"itc", "itm", "mlm", "loss"}
        assert_close(loss, expected)

    @pytest.mark.parametrize(
        ("schedule", "epochs", "share"),
        [("linear", 1.0, 0.5), ("linear", 0.5, 0.75), ("constant", 5.0, 1), ("step", 0.99, 1)],
    )
    def test_mixing(self, build: Build, schedule: str, epochs: float, share: float) -> None:
        module = build(HISTFinetune, alpha_schedule=schedule)
        assert_same_step(
            module, hist_batch(), epochs, {"subject_itc": share, "subject_itm": share, "add": share}
        )

    @pytest.mark.parametrize(("schedule", "epochs"), [("step", 1.0), ("step", 3.5), ("linear", 2.0)])
    def test_when_their_share_is_zero_the_terms_are_neither_made_nor_logged(
        self, build: Build, schedule: str, epochs: float
    ) -> None:
        module = build(HISTFinetune, alpha_schedule=schedule, backbone=NO_DISTILLATION)
        batch = hist_batch("all")
        calls = counted(module.network)
        _, logged = train_step(module, batch, epochs)
        assert set(logged) == {"itc", "itm", "mlm", "loss"}
        assert calls["fuse rows"] == 4 * len(batch)
        assert calls["maps"] == 0

    @pytest.mark.parametrize(
        "switches",
        [
            {"backbone": map_options(target="itm_loss")},
            {"backbone": map_options(target="log_probability")},
            {"backbone": map_options(relu="after_mean")},
            {"backbone": map_options(tokens="mean_all")},
            {"backbone": map_options(tokens="sum")},
            {"backbone": map_options(tokens="mean_no_special")},
            {"addition": AdditionOptions("minmax")},
            {"addition": AdditionOptions("minmax", "clamp")},
            {"addition": AdditionOptions("minmax", "max")},
            {"addition": AdditionOptions("raw", "max")},
            {"backbone": NO_DISTILLATION},
        ],
        ids=str,
    )
    def test_switches(self, build: Build, switches: dict[str, Any]) -> None:
        assert_same_step(build(HISTFinetune, **switches), hist_batch(), 0.5, {})

    def test_only_phrases_are_enqueued(self, build: Build) -> None:
        module, batch = build(HISTFinetune), hist_batch()
        naive = OneByOne(module, batch, 0.0)
        before = module.network.text_queue.clone()
        train_step(module, batch)
        images, texts = naive.features(batch.phrases, momentum=True)
        assert module.network.queue_ptr.item() == len(batch)
        assert_close(module.network.text_queue[:, :4], texts.t())
        assert_close(module.network.image_queue[:, :4], images.t())
        assert torch.equal(module.network.text_queue[:, 4:], before[:, 4:])

    def test_no_negative_has_the_same_text(self, build: Build) -> None:
        """Row 0's best negative is row 1, unless both are of the same text."""
        backbone = build(HISTFinetune, backbone={"negatives": NegativeOptions(exclude="same_text")}).backbone
        similarities = torch.tensor([[0.0, 9.0, 1.0], [9.0, 0.0, 1.0], [1.0, 2.0, 0.0]])
        contrast = Contrast(torch.zeros(()), similarities, similarities)
        images, texts = backbone.draw_negatives(contrast, ["man", "man", "dog"])
        assert images.tolist() == texts.tolist() == [2, 2, 1]
        backbone.negatives = NegativeOptions(exclude="diagonal")
        assert backbone.draw_negatives(contrast, ["man", "man", "dog"])[0].tolist() == [1, 0, 1]

    def test_no_negative_is_mentioned(self, build: Build) -> None:
        """The man of row 0 also stands in image 1, so its captions; the dog of row 1 is not in image 0."""
        backbone = build(HISTFinetune, backbone={"negatives": NegativeOptions(exclude="mentioned")}).backbone
        similarities = torch.tensor([[0.0, 9.0, 1.0], [9.0, 0.0, 1.0], [1.0, 2.0, 0.0]])
        contrast = Contrast(torch.zeros(()), similarities, similarities)
        mentioned = [frozenset({"man"}), frozenset({"dog", "a man"}), frozenset({"hat"})]
        images, texts = backbone.draw_negatives(contrast, ["man", "dog", "hat"], mentioned)
        assert images.tolist() == [2, 0, 1]
        assert texts.tolist() == [1, 2, 1]


def counted(network: Any) -> Counter[str]:
    """Counts what a network is asked to do from now on."""
    calls: Counter[str] = Counter()

    def wrap(name: str) -> None:
        original = getattr(network, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            kind = f"{name} momentum" if options.get("momentum") else name
            calls[kind] += 1
            calls[f"{kind} rows"] += len(arguments[0]) if arguments else 0
            calls["maps"] += bool(options.get("attention_layers"))
            return original(*arguments, **options)

        setattr(network, name, wrapper)

    for name in ("encode_image", "update_momentum", "fuse"):
        wrap(name)
    return calls


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:You defined a `validation_step`.*"
)
class TestRun:
    @pytest.mark.parametrize(("accumulate", "updates"), [(1, 5), (2, 3)])
    def test_one_momentum_update_a_step_and_one_image_encoding_a_batch(
        self, build: Build, accumulate: int, updates: int
    ) -> None:
        """Five batches; the last of them is a step of its own where two make one."""
        module = build(HISTFinetune)
        calls = counted(module.network)
        trainer = fit(
            module, [hist_batch("all") for _ in range(5)], max_epochs=1, accumulate_grad_batches=accumulate
        )
        assert trainer.global_step == calls["update_momentum"] == updates
        assert calls["encode_image"] == calls["encode_image momentum"] == 5
        assert calls["fuse"] <= 2 * 5, "one pass for maps and one for everything else"

    def test_schedules_follow_the_trainers_progress(self, build: Build) -> None:
        module = build(HISTFinetune)
        seen: list[tuple[float, bool]] = []
        original = module.log_terms
        module.log_terms = lambda loss, terms: (
            seen.append((module.backbone.distillation_share(module.training_progress(0)), "add" in terms)),
            original(loss, terms),
        )
        fit(module, [hist_batch("some")] * 4, max_epochs=2)
        assert [alpha for alpha, _ in seen] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
        assert [has_add for _, has_add in seen] == [True] * 4 + [False] * 4

    def test_it_learns(self, build: Build) -> None:
        optimisation = Optimisation(lr=3e-3, schedule="constant")
        batch = hist_batch("all")
        module = build(
            HISTFinetune, alpha_schedule="constant", backbone=NO_DISTILLATION, optimisation=optimisation
        )
        module.backbone.mask = mask_first_word
        losses: list[float] = []
        original = module.log_terms
        module.log_terms = lambda loss, terms: (losses.append(loss.item()), original(loss, terms))
        fit(module, [batch] * 40, max_epochs=1)
        assert losses[-1] < 0.7 * losses[0]

    def test_one_row_is_no_batch(self, build: Build) -> None:
        with pytest.raises(ModelError, match=r"set --data\.batch_size to 2 or more"):
            train_step(build(HISTFinetune), hist_batch(rows=1))

    @pytest.mark.parametrize("cls", [VisionLanguagePretrain, HISTFinetune])
    def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_terms(
        self, build: Build, cls: type
    ) -> None:
        batch: Any = hist_batch()
        batch.images[:] = math.nan
        if cls is VisionLanguagePretrain:
            batch = ImageTextBatch(batch.images, batch.phrases, batch.keys)
        with pytest.raises(
            ModelError, match=r"the loss became nan at step 0 \(itc=nan, .*itm=nan, .*mlm=nan.*\): lower .*lr"
        ):
            train_step(build(cls), batch)


QUERIES = ["a red dog", "the small tree on the left of the old car", "hat", "", "the tall man", "a red dog"]
IMAGE_OF_QUERY = torch.tensor([1, 0, 0, 2, 2, 0])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class TestGround:
    def test_is_the_scaled_map_of_each_phrase_alone(self, build: Build, images: Tensor) -> None:
        module = build(HISTFinetune).eval()
        maps = module.ground(images, QUERIES, IMAGE_OF_QUERY)
        assert maps.shape == (6, 4, 4)
        assert maps.dtype == torch.float32
        assert maps.min() >= 0
        assert maps.max() <= 1
        assert_close(maps.flatten(1).amin(dim=1), torch.zeros(6))
        alone = OneByOne(module, PhraseBatch(images, [], [], [], []), 0.0)
        alone.network = module.network
        for query, (phrase, image) in enumerate(zip(QUERIES, IMAGE_OF_QUERY.tolist(), strict=True)):
            assert_close(maps[query], minmax(alone.raw_map(phrase, image, 0)).detach(), rtol=1e-4, atol=1e-4)
        assert (maps[0] - maps[5]).abs().max() > 0.01, "the same phrase in two images"

    @pytest.mark.parametrize("queries_per_pass", [1, 4, 6])
    def test_does_not_depend_on_what_else_is_asked(
        self, build: Build, images: Tensor, queries_per_pass: int
    ) -> None:
        together = build(HISTFinetune).eval().ground(images, QUERIES, IMAGE_OF_QUERY)
        module = build(HISTFinetune, backbone=map_options(queries_per_pass=queries_per_pass)).eval()
        calls = counted(module.network)
        assert_close(module.ground(images, QUERIES, IMAGE_OF_QUERY), together, rtol=1e-4, atol=1e-4)
        assert calls["encode_image rows"] == 3
        assert calls["fuse"] == math.ceil(6 / queries_per_pass)

    def test_no_phrases(self, build: Build, images: Tensor) -> None:
        assert build(HISTFinetune).ground(images, [], torch.zeros(0, dtype=torch.long)).shape == (0, 4, 4)

    @pytest.mark.parametrize("gradients_on", [True, False])
    def test_leaves_no_gradient_behind(self, build: Build, images: Tensor, gradients_on: bool) -> None:
        module = build(HISTFinetune).eval()
        with torch.set_grad_enabled(gradients_on):
            maps = module.ground(images, QUERIES, IMAGE_OF_QUERY)
        assert not maps.requires_grad
        assert maps.amax(dim=(1, 2)).min() > 0.9
        assert not gradients(module)

    def test_in_inference_mode_it_says_what_to_set(self, build: Build, images: Tensor) -> None:
        with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode"):
            build(HISTFinetune).eval().ground(images, QUERIES, IMAGE_OF_QUERY)


def test_match_is_the_cosine_of_every_image_with_every_text(build: Build, images: Tensor) -> None:
    module = build(HISTFinetune, backbone={"max_tokens": 4}).eval()
    texts = ["a red dog on the left", "a red dog on the hat"]
    similarities = module.match(images, texts)
    assert similarities.shape == (3, 2)
    network = module.network
    for n in range(3):
        for m, text in enumerate(texts):
            tokens = module.backbone.tokenizer([text])
            image, words = (
                network.image_feature(network.encode_image(images[n : n + 1])),
                network.text_feature(network.encode_text(*tokens)),
            )
            assert similarities[n, m].item() == pytest.approx((image @ words.t()).item(), abs=1e-5)
    assert not similarities.requires_grad


def test_vocabulary_and_network_must_agree(build: Build) -> None:
    with pytest.raises(ModelError, match=f"has {len(WORDS)} tokens and the network's text.vocab_size is 99"):
        build(HISTFinetune, tiny_network(text=replace(NETWORK["text"], vocab_size=99)))
