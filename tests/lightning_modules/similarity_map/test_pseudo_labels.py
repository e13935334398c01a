from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_modules.similarity_map.pseudo_labels import (
    PseudoLabelOptions,
    inside,
    overlaps,
    pseudo_labels,
    selection,
    self_similarity,
)
from tests.networks.gpp_parity import arrays
from tests.parity import assert_near_exact

REFERENCE = arrays("simmap_reference.npz")
CASES = sorted({name.split("/")[0] for name in REFERENCE})


@pytest.mark.parametrize("reduce", ["nearest", "area", "max"])
@pytest.mark.parametrize("case", CASES)
def test_an_independent_loop_over_places_says_the_same(case: str, reduce: Any) -> None:
    features = REFERENCE[f"{case}/Z"][None].double()
    masks = REFERENCE[f"{case}/M"][None].double()
    expected = {key: REFERENCE[f"{case}/{reduce}/{key}"] for key in ("iou", "sel", "Mbar")}
    grid = features.shape[-2:]
    ious = overlaps(self_similarity(features) > 0, inside(masks, grid, reduce=reduce))
    assert_near_exact(ious.view(grid), expected["iou"].float())
    assert torch.equal(selection(ious)[0].nonzero().flatten(), expected["sel"])
    options = PseudoLabelOptions(mask_reduce=reduce, clamp=False)
    assert_near_exact(pseudo_labels(features, masks, options)[0], expected["Mbar"])


def two_things(height: int = 4, width: int = 6) -> tuple[Tensor, Tensor]:
    """Features of a left and a right half that have nothing in common, and a mask on most of the left."""
    features = torch.zeros(1, 2, height, width)
    features[:, 0, :, : width // 2] = 1
    features[:, 1, :, width // 2 :] = 1
    masks = torch.zeros(1, 8 * height, 8 * width)
    masks[:, :, : 4 * width - 4] = 0.9
    return features, masks


def test_the_label_is_the_thing_that_the_mask_points_at() -> None:
    features, masks = two_things()
    label = pseudo_labels(features, masks)
    assert_close(label, features[:, 0])


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, [0.9, 0.9, 0.3]),  # the first two rows
        ({"average": "binary"}, [1.0, 1.0, 0.5]),
        ({"select": "best"}, [1.0, 0.8, 0.0]),  # the first row
        ({"iou_threshold": 0.7}, [1.0, 0.8, 0.0]),
        ({"similarity_threshold": "mean", "iou_threshold": 0.9}, [0.9, 0.9, 0.3]),
        ({"mask_threshold": 0.05}, [0.6, 0.8, 1.6 / 3]),  # all rows
    ],
)
def test_options_change_the_label(changes: dict[str, Any], label: list[float]) -> None:
    """Cosines 1 .8 0, .8 1 .6 and 0 .6 1; the mask is the first two places, overlaps are 1, 2/3 and 1/3."""
    features = torch.tensor([[[[1.0, 0.8, 0.0]], [[0.0, 0.6, 1.0]]]])
    masks = torch.tensor([[[1.0, 1.0, 0.1]]])
    options = replace(PseudoLabelOptions(), **changes)
    assert pseudo_labels(features, masks, options).flatten().tolist() == pytest.approx(label)


def test_centring_gives_features_of_one_sign_cosines_of_both() -> None:
    features = torch.rand(1, 5, 3, 3) + 1
    assert (self_similarity(features) > 0).all()
    assert (self_similarity(features, "spatial") < 0).any()


def test_clamping_and_the_mask_as_tie_breaker() -> None:
    features, masks = two_things()
    features[:, 0] -= 0.5  # the halves now disagree
    assert pseudo_labels(features, masks, PseudoLabelOptions(clamp=False)).amin() < 0
    assert pseudo_labels(features, masks).amin() == 0
    masks[:, :8, :8] = 1.0
    label = pseudo_labels(features, masks, PseudoLabelOptions(times_mask=True))
    assert label.flatten(1).argmax().item() == 0
    assert label[0, 0, 0] == pytest.approx(1.0)
    assert label[0, 1, 1] == pytest.approx(0.9)


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 4, 5, 5)
    masks = torch.rand(3, 40, 40)
    together = pseudo_labels(features, masks)
    alone = torch.cat([pseudo_labels(features[[row]], masks[[row]]) for row in range(3)])
    assert_close(together, alone)
