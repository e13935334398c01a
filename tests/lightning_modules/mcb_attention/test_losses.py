from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from lightning_modules.mcb_attention.losses import (
    Queries,
    complement_loss,
    contrastive_pair_loss,
    draw_queries,
    literal_pair_loss,
    map_penalty,
    masked_images,
    masked_targets,
    pair_loss,
)
from tests.parity import assert_near_exact

REFERENCE = Path(__file__).parents[2] / "data" / "mcb" / "losses.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(REFERENCE).items()}


def test_pairs_and_penalty_are_those_of_the_definition(reference: dict[str, Tensor]) -> None:
    pairs = reference["fi"], reference["fj"], reference["same"], float(reference["margin"])
    assert_near_exact(literal_pair_loss(*pairs), reference["Lp_literal_per_pair"])
    assert_near_exact(contrastive_pair_loss(*pairs), reference["Lp_contrastive_margin_per_pair"])
    assert_near_exact(map_penalty(reference["r"]), reference["R_per_image"])


def test_pair_loss_by_hand() -> None:
    """Of unit length: two of class 0 at a right angle, one of class 1 opposite to the first."""
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    classes = torch.tensor([0, 0, 1])
    assert pair_loss(features, classes, "contrastive", 1.0).item() == pytest.approx(
        2.0
    )  # the far pairs are farther than 1
    assert pair_loss(features, classes, "contrastive", 1.5).item() == pytest.approx(
        2.0 + (1.5 - 2**0.5) ** 2 / 2
    )
    assert pair_loss(features, classes, "literal", 0.0).item() == pytest.approx((2 - 2 - 4) / 3)
    assert pair_loss(features, classes, "none", 1.0).item() == 0.0
    assert pair_loss(features[:1], classes[:1], "contrastive", 1.0).item() == 0.0


@pytest.mark.parametrize("kind", ["contrastive", "literal"])
def test_pair_loss_is_finite_for_equal_and_for_empty_features(kind: str) -> None:
    for features in (torch.ones(4, 3), torch.zeros(4, 3)):
        features.requires_grad_()
        loss = pair_loss(features, torch.tensor([0, 0, 1, 1]), kind, 1.0)  # type: ignore[arg-type]
        loss.backward()
        assert loss.isfinite()
        assert features.grad is not None
        assert features.grad.isfinite().all()


def test_complement_is_the_logarithm_of_what_is_left() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 6, 6, 1])
    expected = -torch.log(1 - logits.softmax(1)[torch.arange(5), classes]).mean()
    assert_close(complement_loss(logits, classes), expected)
    assert complement_loss(torch.tensor([[200.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(200.0)


LABELS = torch.tensor([[True, False, True], [False, False, False], [False, True, False], [True, True, True]])


def test_queries_of_all_that_is_there() -> None:
    queries = draw_queries(LABELS, "all", absent=0.0)
    assert list(zip(queries.image.tolist(), queries.classes.tolist(), strict=True)) == [
        (0, 0),
        (0, 2),
        (2, 1),
        (3, 0),
        (3, 1),
        (3, 2),
    ]
    assert queries.present.all()


def test_one_query_an_image_and_one_for_what_is_absent() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        queries = draw_queries(LABELS, "one", absent=1.0)
        assert queries.image[queries.present].tolist() == [0, 2, 3]
        assert queries.image[~queries.present].tolist() == [0, 1, 2]  # the last image has all
        assert LABELS[queries.image, queries.classes].tolist() == queries.present.tolist()
        seen |= set(zip(queries.image.tolist(), queries.classes.tolist(), strict=True))
    assert seen == {
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
        (3, 1),
        (3, 2),
    }


@pytest.mark.parametrize("per_image", ["one", "all"])
def test_nothing_to_ask_for(per_image: Any) -> None:
    queries = draw_queries(torch.zeros(2, 3, dtype=torch.bool), per_image, absent=0.0)
    assert len(queries.classes) == len(queries.image) == len(queries.present) == 0


def test_what_a_judge_should_see() -> None:
    queries = Queries(torch.tensor([2, 1]), torch.tensor([0, 2]), torch.tensor([True, True]))
    under, rest = masked_targets(LABELS, queries)
    assert under.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert rest.tolist() == [[1, 0, 0], [0, 0, 0]]
    under, rest = masked_targets(LABELS, Queries(torch.tensor([1]), torch.tensor([0]), torch.tensor([False])))
    assert under.tolist() == [[0, 0, 0]]
    assert rest.tolist() == [[1, 0, 1]]


def test_masked_images_are_parts_on_black() -> None:
    images = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0)) - 0.4
    black = torch.full((3, 1, 1), -0.4)
    maps = torch.zeros(1, 2, 3)
    maps[0, :, 2] = 1
    under, rest = masked_images(images, maps, torch.tensor([1]), black)
    assert_close(under + rest - black, images[1:])
    assert_close(under[0, :, :, 5], images[1, :, :, 5])
    assert_close(under[0, :, :, :2], black.expand(3, 4, 2))
    assert_close(rest[0, :, :, :2], images[1, :, :, :2])
    assert_close(
        F.interpolate(maps[:, None], size=(4, 6), mode="bilinear")[0, 0, 0],
        torch.tensor([0, 0, 0, 0.25, 0.75, 1.0]),
    )
