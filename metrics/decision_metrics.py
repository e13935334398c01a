"""Further numbers on the decisions of a grounding evaluation, named in its config.

A new one is a `DecisionMetric` in a file of its own:
``GroundingEvaluation(metrics=[{class_path: metrics.my_metric.MyMetric}])``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from metrics.decisions import Decisions
from metrics.intervals import Estimate
from metrics.sums import Rate


class DecisionMetric(nn.Module, ABC):
    """A number on what was decided; it keeps its sums in metrics of `metrics.sums`.

    Attributes:
        name: as it is logged and printed.
    """

    name: str

    @abstractmethod
    def update(self, decisions: Decisions) -> None:
        """Adds the decisions on a batch, all of which the protocol judges."""

    @abstractmethod
    def compute(self) -> Estimate:
        """The number over all processes."""

    @abstractmethod
    def reset(self) -> None:
        """Starts over."""


class BoxAccuracyAt(DecisionMetric):
    """Share of queries whose predicted box overlaps the true one by at least a given IoU.

    Args:
        iou: from which a box is correct, in [0, 1]; 0.3 is logged as ``box_accuracy_30``.

    Raises:
        ValueError: an IoU outside [0, 1].
    """

    def __init__(self, iou: float) -> None:
        super().__init__()
        if not 0 <= iou <= 1:
            raise ValueError(f"iou must be in [0, 1], not {iou}")
        self.iou = iou
        self.name = f"box_accuracy_{100 * iou:.0f}"
        self.rate = Rate()

    def update(self, decisions: Decisions) -> None:
        """See `DecisionMetric.update`."""
        self.rate.update(decisions.ious >= self.iou)

    def compute(self) -> Estimate:
        """The share, with its Wilson interval."""
        return self.rate.compute()

    def reset(self) -> None:
        """Starts over."""
        self.rate.reset()
