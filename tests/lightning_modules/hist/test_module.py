"""A training step of HIST, and a run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.backbones.losses import Contrast, Features
from lightning_modules.backbones.momentum import EncodedImages
from lightning_modules.backbones.options import NegativeOptions
from lightning_modules.errors import ModelError
from lightning_modules.hist.module import AdditionOptions, HISTFinetune, LossWeights
from lightning_modules.optimisation import Optimisation
from lightning_modules.pretraining.module import VisionLanguagePretrain
from tests.lightning_modules.conftest import (
    NETWORKS,
    fit,
    gradients,
    train_step,
)
from tests.lightning_modules.hist.one_by_one import (
    NO_DISTILLATION,
    PARTNERS,
    Build,
    counted,
    hist_batch,
    map_options,
    mask_first_word,
    one_by_one,
)


@pytest.fixture(params=NETWORKS, ids=lambda backbone: backbone.__name__)
def backbone_class(request: pytest.FixtureRequest) -> Any:
    """Each published backbone."""
    return request.param


def assert_same_step(
    module: HISTFinetune, batch: PhraseBatch, epochs: float, weights: dict[str, float]
) -> None:
    """One step gives the terms, the loss and the gradients that texts one by one give. ``weights``: of the
    terms other than those of L_phrase.
    """
    module.backbone.mask = mask_first_word
    naive = one_by_one(module, batch, module.backbone.distillation.share * min(1.0, epochs))
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
    found = gradients(module.network)
    wanted = gradients(naive.network)
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
        module = build(HISTFinetune)
        batch = hist_batch("all")
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
        assert set(logged) == {"itc", "itm", module.backbone.language_term, "loss"}
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
        assert set(logged) == {"itc", "itm", module.backbone.language_term, "loss"}
        assert calls["fuse rows"] + calls["next_token_logits rows"] == 4 * len(batch)
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
        module = build(HISTFinetune)
        batch = hist_batch()
        naive = one_by_one(module, batch, 0.0)
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
        module = build(cls)
        terms = rf"itc=nan, .*itm=nan, .*{module.backbone.language_term}=nan"
        with pytest.raises(ModelError, match=rf"the loss became nan at step 0 \({terms}.*\): lower .*lr"):
            train_step(module, batch)
