"""Further numbers on decisions: against a count by hand, and named in an evaluation's config."""

from __future__ import annotations

import pytest
import torch

from callbacks.evaluations.grounding import GroundingEvaluation
from metrics.decision_metrics import BoxAccuracyAt
from metrics.grounding import GroundingScore


def judge(score: GroundingScore) -> GroundingScore:
    """Two queries of one image whose map is the upper half: IoU 1 with the first box, .5 with the second."""
    heatmap = torch.zeros(1, 4, 4)
    heatmap[0, :2] = 1.0
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
