"""A training step of AMC on each backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from datamodules.batches import BoxedPhraseBatch, ImageTextBatch
from lightning_modules.amc.module import AMCFinetune, MarginOptions
from lightning_modules.backbones.albef import ALBEFBackbone
from lightning_modules.backbones.options import DistillationOptions
from lightning_modules.optimisation import Optimisation
from lightning_modules.pretraining.module import VisionLanguagePretrain
from networks.layers.class_activation import minmax
from tests.lightning_modules.conftest import NETWORKS, fit, train_step
from tests.lightning_modules.hist.one_by_one import Build, hist_batch, mask_first_word


@pytest.fixture(params=NETWORKS, ids=lambda backbone: backbone.__name__)
def backbone_class(request: pytest.FixtureRequest) -> Any:
    """Each published backbone."""
    return request.param


def boxed_batch(*empty_rows: int) -> BoxedPhraseBatch:
    batch = hist_batch()
    regions = torch.zeros(4, 32, 32, dtype=torch.bool)
    regions[:, 4:20, 8:16] = True
    regions[list(empty_rows)] = False
    mentioned = [frozenset({phrase}) for phrase in batch.phrases]
    return BoxedPhraseBatch(batch.images, batch.phrases, regions, batch.keys, mentioned)


@pytest.mark.usefixtures("first_choice")
def test_a_step_is_pretraining_and_the_margins(build: Build) -> None:
    module = build(AMCFinetune, margins=MarginOptions(2.0, 3.0))
    plain = build(VisionLanguagePretrain)
    module.backbone.mask = mask_first_word
    plain.backbone.mask = mask_first_word
    batch = boxed_batch()
    loss, logged = train_step(module, batch)
    expected, _ = train_step(plain, ImageTextBatch(batch.images, batch.phrases, batch.keys))
    assert logged["mean_margin"] > 0
    assert logged["max_margin"] > 0
    assert_close(loss, expected + 2 * logged["mean_margin"] + 3 * logged["max_margin"])


def test_margins_are_those_of_each_phrases_own_map(build: Build) -> None:
    """Rows 1 and 2 have no region."""
    module = build(AMCFinetune).eval()
    batch = boxed_batch(1, 2)
    heights: list[float] = []
    inside: list[torch.Tensor] = []
    outside: list[torch.Tensor] = []
    for row in (0, 3):
        images = module.backbone.encode(batch.images[row : row + 1])
        raw = module.backbone.raw_maps(images, [batch.phrases[row]], torch.zeros(1, dtype=torch.long))
        large = F.interpolate(minmax(raw)[None], (32, 32), mode="bilinear")[0, 0]
        inside.append(large[batch.regions[row]])
        outside.append(large[~batch.regions[row]])
        heights.append(max(0.0, (outside[-1].max() - inside[-1].max() + 0.5).item()))
    _, logged = train_step(module, batch)
    difference = torch.cat(outside).mean() - torch.cat(inside).mean()
    assert_close(logged["mean_margin"], F.relu(difference + 0.1))
    assert logged["max_margin"].item() == pytest.approx(sum(heights) / 2, abs=1e-5)


def test_without_a_region_nothing_is_asked_of_maps(build: Build) -> None:
    loss, logged = train_step(build(AMCFinetune), boxed_batch(0, 1, 2, 3))
    assert logged["mean_margin"] == logged["max_margin"] == 0
    assert loss.isfinite()


@pytest.mark.parametrize("backbone_class", [ALBEFBackbone])
def test_it_learns_where_phrases_are(build: Build) -> None:
    module = build(AMCFinetune, optimisation=Optimisation(lr=1e-2, schedule="constant"))
    module.backbone.distillation = DistillationOptions(share=0.0)
    seen: list[float] = []
    original = module.log_terms
    module.log_terms = lambda loss, terms: (
        seen.append((terms["mean_margin"] + terms["max_margin"]).item()),
        original(loss, terms),
    )
    fit(module, [boxed_batch()] * 16, max_epochs=1)
    assert sum(seen[-3:]) < 0.65 * sum(seen[:3])
