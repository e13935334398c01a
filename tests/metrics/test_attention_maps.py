from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.attention_maps import (
    AttentionMapScore,
    MapRules,
    map_masks,
    mask_iou,
    tight_boxes,
)
from metrics.boxes import iou
from tests.parity import assert_near_exact

REFERENCE = Path(__file__).parents[1] / "data" / "mcb" / "boxes.npz"
RULES = MapRules()


def blocks(*boxes: tuple[int, int, int, int], value: float = 1.0, side: int = 16) -> Tensor:
    """A map that is ``value`` inside the boxes and 0 elsewhere."""
    heat = torch.zeros(side, side)
    for x0, y0, x1, y1 in boxes:
        heat[y0:y1, x0:x1] = value
    return heat


def test_boxes_at_half_of_the_maximum() -> None:
    reference = {name: torch.from_numpy(value) for name, value in np.load(REFERENCE).items()}
    boxes = tight_boxes(map_masks(reference["att"], MapRules(blank=0.0)))
    assert torch.equal(boxes, reference["box_half_max"].double())
    assert_near_exact(iou(boxes, reference["gt"]), reference["iou"])


def test_blank_maps_have_no_box() -> None:
    maps = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 0.09), torch.full((4, 4), 0.1)])
    assert tight_boxes(map_masks(maps, RULES)).isnan().all(1).tolist() == [True, True, False]


def test_mask_iou_is_with_the_union_of_the_boxes() -> None:
    mask = blocks((0, 0, 4, 4)).bool().numpy()
    assert mask_iou(mask, np.array([[0, 0, 4, 2], [0, 1, 4, 6]])) == pytest.approx(16 / 24)
    assert mask_iou(mask & False, np.array([[0, 0, 4, 2]])) == 0


def batch() -> tuple[Tensor, list[str], list[Tensor], Tensor]:
    """A perfect map, half of a box, two instances of which one is found beside something else, nothing found,
    two absent ones of which one is blank.
    """
    maps = torch.stack(
        [
            blocks((2, 2, 8, 8)),
            blocks((0, 0, 8, 4)),
            blocks((0, 0, 4, 4)) + blocks((12, 12, 16, 16), value=0.8),
            blocks((0, 0, 0, 0)),
            blocks((0, 0, 16, 16), value=0.05),
            blocks((0, 0, 16, 16), value=0.5),
        ]
    )
    boxes: list[list[list[float]]] = [
        [[2, 2, 8, 8]],
        [[0, 0, 8, 8]],
        [[0, 0, 4, 4], [6, 6, 10, 10]],
        [[0, 0, 3, 3]],
        [],
        [],
    ]
    return (
        maps,
        ["a", "b", "a", "c", "a", "b"],
        [torch.tensor(found).reshape(-1, 4) for found in boxes],
        torch.tensor([[16, 16]] * 6),
    )


def test_all_numbers() -> None:
    score = AttentionMapScore(RULES, ["a", "b", "c", "d"])
    score.update(*batch())
    found = score.compute()
    assert found["average_iou"].value == pytest.approx((1 + 0.5 + 1 + 0 + 0) / 5, abs=1e-9)
    assert [found[f"accuracy_{t}"].value for t in (30, 40, 50)] == pytest.approx([3 / 5, 3 / 5, 3 / 5])
    assert found["average_iou"].n == found["accuracy_50"].n == found["map_50"].n == 5
    # Of class a, 2 of 3 boxes are found before the wrong detection; class b is found; class c is not; class d
    # was never asked.
    assert found["map_50"].value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["mask_iou"].value == pytest.approx((1 + 0.5 + 16 / 48 + 0) / 4, abs=1e-9)
    assert (found["blank_absent"].value, found["blank_absent"].n) == (0.5, 2)


def test_a_speck_far_away_spoils_the_whole_box_and_not_the_largest() -> None:
    heat = blocks((0, 0, 8, 8), value=0.8) + blocks((14, 14, 16, 16))
    for box, expected in (("whole", 64 / 256), ("largest", 1.0)):
        score = AttentionMapScore(MapRules(box=box), [])  # type: ignore[arg-type]
        score.update(heat[None], ["a"], [torch.tensor([[0.0, 0, 8, 8]])], torch.tensor([[16, 16]]))
        assert score.compute()["average_iou"].value == pytest.approx(expected)


def test_batches_and_processes_do_not_matter() -> None:
    maps, phrases, boxes, sizes = batch()
    whole = AttentionMapScore(RULES, ["a", "b", "c"])
    parts = AttentionMapScore(RULES, ["a", "b", "c"])
    whole.update(maps, phrases, boxes, sizes)
    for row in (5, 3, 1, 0, 2, 4):
        parts.update(maps[[row]], [phrases[row]], [boxes[row]], sizes[[row]])
    assert pickle.loads(pickle.dumps(parts)).compute() == whole.compute()
    whole.reset()
    whole.update(maps[:0], [], [], sizes[:0])
    assert whole.compute()["average_iou"].n == 0


def test_maps_are_stretched_to_each_image() -> None:
    small = torch.zeros(2, 4, 4)
    small[:, 1:3, 1:3] = 1
    score = AttentionMapScore(RULES, [])
    score.update(
        small,
        ["a", "a"],
        [torch.tensor([[4.0, 4, 12, 12]]), torch.tensor([[6.0, 6, 18, 18]])],
        torch.tensor([[16, 16], [24, 24]]),
    )
    assert score.compute()["average_iou"].value == pytest.approx(1.0)


def test_what_cannot_be_judged_is_said() -> None:
    score = AttentionMapScore(RULES, [])
    with pytest.raises(ValueError, match=r"the box \[3.0, 0.0, 1.0, 1.0\] of query 'q' is not x0 <= x1"):
        score.update(
            torch.zeros(1, 4, 4), ["a"], [torch.tensor([[3.0, 0, 1, 1]])], torch.tensor([[4, 4]]), ["q"]
        )
    with pytest.raises(ValueError, match=r"maps have shape \(4, 4\)"):
        score.update(torch.zeros(4, 4), ["a"], [torch.zeros(0, 4)], torch.tensor([[4, 4]]))
