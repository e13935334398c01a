"""Phrase grounding judged by one protocol: heat maps in, pointing game and box accuracy out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn
from torchmetrics.wrappers.abstract import WrapperMetric

from metrics.decision_metrics import DecisionMetric
from metrics.decisions import Decisions, Queries, Truth, decide
from metrics.intervals import Estimate
from metrics.protocols import Protocol, PublishedBoxes, protocol
from metrics.sums import Mean, Rate


class GroundingScore(WrapperMetric):
    """Adds up what `metrics.decisions.decide` decides under one protocol.

    It keeps integer sums only, which are added over processes on ``compute``: any split of the queries over
    batches and processes gives the same digits.

    Args:
        rules: a protocol or the name of a preset.
        published: how the data set publishes its boxes, see `metrics.decisions.Truth`.
        threshold: IoU from which a box is correct. The code of WWbL counts an IoU of exactly 0.5 as correct,
            where its paper says "over 0.5"; so does this.
        further: further numbers on the decisions; they are copied.

    Example:
        >>> import torch
        >>> heatmap = torch.zeros(1, 4, 4)
        >>> heatmap[0, 2, 1] = 1.0
        >>> one = torch.zeros(1, dtype=torch.long)
        >>> score = GroundingScore("clean")
        >>> true_box = torch.tensor([[20.0, 20.0, 40.0, 30.0]])
        >>> decisions = score.update(heatmap, [true_box], one, one, sizes=torch.tensor([[40, 80]]))
        >>> {name: round(estimate.value, 6) for name, estimate in score.compute().items()}
        {'pointing_game': 1.0, 'box_accuracy': 1.0, 'mean_iou': 1.0}
    """

    def __init__(
        self,
        rules: Protocol | str = "clean",
        published: PublishedBoxes = "corners",
        threshold: float = 0.5,
        further: Sequence[DecisionMetric] = (),
    ) -> None:
        super().__init__()
        self.rules = protocol(rules)
        self.published = published
        self.threshold = threshold
        self.pointing_game = Rate()
        self.box_accuracy = Rate()
        self.mean_iou = Mean()
        self.further = nn.ModuleList(copy.deepcopy(metric) for metric in further)

    def update(  # type: ignore[override]  # (gives back the decisions; torchmetrics expects nothing)
        self,
        heatmaps: Tensor,
        boxes: Sequence[Tensor],
        image_of_query: Tensor,
        chain_of_query: Tensor,
        sizes: Tensor,
        keys: Sequence[str] | None = None,
    ) -> Decisions:
        """Adds a batch; see :class:`datamodules.batches.GroundingBatch` for the fields. All mentions of a
        chain must be in one batch.

        Queries without a box are not judged. An empty batch is welcome.

        Args:
            heatmaps: (Q,h,w), any float type, any device; larger where the phrase is.
            boxes: Q tensors (K,4).
            image_of_query: (Q,) into the N images.
            chain_of_query: (Q,) numbers, equal for mentions of one thing; unique within the batch.
            sizes: (N,2) height and width of the original images.
            keys: Q names for error messages.

        Returns:
            The decisions that were added.

        Raises:
            ValueError: heat maps that are not (Q,h,w) or not finite, a box that is inverted or not finite.
        """
        queries = Queries(sizes, image_of_query, chain_of_query, keys)
        truth = Truth(boxes, self.published)
        decisions = decide(heatmaps, queries, self.rules, truth, judged_only=True)
        self.pointing_game.update(decisions.hits)
        self.box_accuracy.update(decisions.ious >= self.threshold)
        self.mean_iou.update(decisions.ious)
        for metric in self.further:
            metric.update(decisions)  # type: ignore[operator]
        return decisions

    def compute(self) -> dict[str, Estimate]:
        """``pointing_game``, ``box_accuracy``, ``mean_iou`` and the further numbers, over all processes.

        Without queries the values are nan and n is 0.
        """
        further = {str(metric.name): metric.compute() for metric in self.further}  # type: ignore[operator]
        return {
            "pointing_game": self.pointing_game.compute(),
            "box_accuracy": self.box_accuracy.compute(),
            "mean_iou": self.mean_iou.compute(),
            **further,
        }

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        for part in (self.pointing_game, self.box_accuracy, self.mean_iou, *self.further):
            part.reset()  # type: ignore[operator]
