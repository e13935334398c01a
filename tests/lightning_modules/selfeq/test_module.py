"""A training step of SelfEQ on each backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from datamodules.batches import ImageTextBatch
from lightning_modules.pretraining.module import VisionLanguagePretrain
from lightning_modules.selfeq.losses import consistency_loss, similarity_loss
from lightning_modules.selfeq.module import ConsistencyOptions, SelfEQFinetune
from networks.layers.class_activation import minmax
from tests.lightning_modules.conftest import NETWORKS, gradients, train_step
from tests.lightning_modules.hist.one_by_one import Build, counted, hist_batch, mask_first_word

# Of the four phrases of `hist_batch` the first two have an equivalent, one each.
EQUIVALENTS = ["a red cat", "the tall hat", "small green car on the left", "Hat."]


@pytest.fixture(params=NETWORKS, ids=lambda backbone: backbone.__name__)
def backbone_class(request: pytest.FixtureRequest) -> Any:
    """Each published backbone."""
    return request.param


@pytest.fixture
def synonyms(tmp_path: Path) -> Path:
    path = tmp_path / "synonyms.txt"
    path.write_text("dog, cat\nman, hat # not in earnest\n")
    return path


def pretraining_loss(build: Build, texts: list[str]) -> torch.Tensor:
    plain = build(VisionLanguagePretrain)
    plain.backbone.mask = mask_first_word
    batch = hist_batch()
    loss, _ = train_step(plain, ImageTextBatch(batch.images, texts, batch.keys))
    return loss


@pytest.mark.usefixtures("first_choice")
class TestStep:
    def test_at_first_equivalents_and_maps(self, build: Build, synonyms: Path) -> None:
        batch = hist_batch()
        batch.phrases[3] = "one"  # has neither a synonym nor an article
        texts = [*EQUIVALENTS[:3], "one"]
        module = build(
            SelfEQFinetune,
            synonyms=synonyms,
            articles=False,
            consistency=ConsistencyOptions(similarity_weight=2.0, consistency_weight=3.0),
        )
        module.backbone.mask = mask_first_word
        loss, logged = train_step(module, batch)
        plain = pretraining_loss(build, texts)
        assert_close(loss, plain + 2 * logged["similarity"] + 3 * logged["consistency"])
        module.eval()
        maps = []
        for text, row in zip([*batch.phrases[:2], *texts[:2]], (0, 1, 0, 1), strict=True):
            images = module.backbone.encode(batch.images[row : row + 1])
            maps.append(minmax(module.backbone.raw_maps(images, [text], torch.zeros(1, dtype=torch.long))))
        phrase_maps, equivalent_maps = torch.cat(maps).chunk(2)
        assert_close(logged["similarity"], similarity_loss(phrase_maps, equivalent_maps))
        assert_close(logged["consistency"], consistency_loss(phrase_maps, equivalent_maps))
        loss.backward()
        assert all(gradient.isfinite().all() for gradient in gradients(module).values())

    @pytest.mark.parametrize("epochs", [1.0, 3.5])
    def test_later_phrases_alone(self, build: Build, synonyms: Path, epochs: float) -> None:
        module = build(SelfEQFinetune, synonyms=synonyms)
        module.backbone.mask = mask_first_word
        module.backbone.distillation = replace(module.backbone.distillation, share=0.0)
        calls = counted(module.network)
        loss, logged = train_step(module, hist_batch(), epochs)
        assert set(logged) == {"itc", "itm", module.backbone.language_term, "loss"}
        assert calls["maps"] == 0
        assert_close(loss, pretraining_loss(build, hist_batch().phrases))

    def test_without_any_equivalent(self, build: Build, synonyms: Path) -> None:
        module = build(SelfEQFinetune, synonyms=synonyms, articles=False)
        batch = hist_batch()
        batch.phrases[:] = ["one", "two", "three", "four"]
        loss, logged = train_step(module, batch)
        assert logged["similarity"] == logged["consistency"] == 0
        assert loss.isfinite()
