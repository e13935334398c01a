"""Further numbers on decisions: against a count by hand, and named in an evaluation's config."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from callbacks.evaluations.grounding import GroundingEvaluation
from metrics.decision_metrics import BoxAccuracyAt, DecisionMetric
from metrics.decisions import Decisions
from metrics.grounding import GroundingScore
from metrics.intervals import Estimate
from metrics.sums import Mean


class CentreDistance(DecisionMetric):
    """Distance of the point from the centre of the true box, as a share of the image's diagonal."""

    name = "centre_distance"

    def __init__(self) -> None:
        super().__init__()
        self.mean = Mean()

    def update(self, decisions: Decisions) -> None:
        centres = (decisions.targets[:, 0, :2] + decisions.targets[:, 0, 2:]) / 2
        distances = (decisions.points.flip(-1) - centres).norm(dim=-1)
        self.mean.update(distances / decisions.sizes.double().norm(dim=-1))

    def compute(self) -> Estimate:
        return self.mean.compute()

    def reset(self) -> None:
        self.mean.reset()


def upper_half() -> Tensor:
    """(1,4,4), a map of the upper half of its image."""
    heatmap = torch.zeros(1, 4, 4)
    heatmap[0, :2] = 1.0
    return heatmap


def judge(score: GroundingScore, heatmap: Tensor | None = None) -> GroundingScore:
    """Two queries of one image with the same map, by default `upper_half`: its IoU is 1 with the first box,
    and .5 with the second.
    """
    if heatmap is None:
        heatmap = upper_half()
    boxes = [torch.tensor([[0.0, 0.0, 40.0, 20.0]]), torch.tensor([[0.0, 0.0, 40.0, 40.0]])]
    both = torch.arange(2)
    score.update(heatmap.expand(2, -1, -1), boxes, both * 0, both, torch.tensor([[40, 40]]))
    return score


def test_box_accuracy_at_two_ious() -> None:
    numbers = judge(GroundingScore("clean", further=[BoxAccuracyAt(0.3), BoxAccuracyAt(0.7)])).compute()
    assert list(numbers)[-2:] == ["box_accuracy_30", "box_accuracy_70"]
    assert numbers["box_accuracy_30"].value == 1.0
    assert numbers["box_accuracy_70"].value == 0.5
    assert numbers["box_accuracy_70"].n == 2


def test_a_metric_sees_true_boxes_and_image_sizes() -> None:
    heatmap = torch.zeros(1, 40, 40)
    heatmap[0, 10, 20] = 1.0
    estimate = judge(GroundingScore("clean", further=[CentreDistance()]), heatmap).compute()[
        "centre_distance"
    ]
    # The point is the centre of the first box, and 10 pixels above that of the second.
    assert estimate.value == pytest.approx((0 + 10) / 2 / math.hypot(40, 40))


def test_scores_do_not_share_sums() -> None:
    metric = BoxAccuracyAt(0.3)
    first = GroundingScore("clean", further=[metric])
    judge(first)
    assert GroundingScore("clean", further=[metric]).compute()["box_accuracy_30"].n == 0
    first.reset()
    assert first.compute()["box_accuracy_30"].n == 0


def test_an_evaluation_gives_them_to_every_protocol() -> None:
    evaluation = GroundingEvaluation(["clean", "selfeq"], metrics=[BoxAccuracyAt(0.3)])
    for rules in evaluation.protocols:
        assert "box_accuracy_30" in evaluation._score(rules, "corners").compute()


def test_an_iou_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"iou must be in \[0, 1\], not 1.5"):
        BoxAccuracyAt(1.5)
