"""What was said of images of which nothing was asked, judged by what there was to be said (WWbL).

Shaharabany, Tewel and Wolf 2022, "What is Where by Looking", arXiv:2206.09358: of the texts that were found
in an image, the one nearest to a true phrase answers it, and its heat map is judged as if it had been asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.wrappers.abstract import WrapperMetric

from metrics.decisions import Queries, Truth, decide
from metrics.intervals import Estimate
from metrics.protocols import Protocol, PublishedBoxes, protocol
from metrics.sums import Mean, Rate


def nearest_texts(
    queries: Tensor, texts: Tensor, image_of_query: Tensor, image_of_text: Tensor, group_of_query: Tensor
) -> Tensor:
    """The text of its image that is nearest to each query.

    Args:
        queries: (Q,D), of length 1.
        texts: (M,D), of length 1.
        image_of_query: (Q,) long.
        image_of_text: (M,) long.
        group_of_query: (Q,) long; queries of one group, such as the mentions of a chain, lie in one image and
            are answered alike, by the text nearest to their mean.

    Returns:
        (Q,) long, into the texts; -1 where the image has none.

    Example:
        >>> axes = torch.eye(2)
        >>> one, two = torch.tensor([0]), torch.tensor([0, 0])
        >>> nearest_texts(axes[1:], axes, one, two, one).tolist()
        [1]
        >>> nearest_texts(axes[1:], axes, one + 1, two, one).tolist()
        [-1]
    """
    if not len(texts):
        return torch.full_like(image_of_query, -1)
    _, group = group_of_query.unique(return_inverse=True)
    sums = queries.new_zeros(int(group.max()) + 1 if len(group) else 0, queries.shape[1])
    means = sums.index_add(0, group, queries)[group]  # times the size of the group, which orders alike
    elsewhere = image_of_query[:, None] != image_of_text[None]
    nearest = (means @ texts.t()).masked_fill(elsewhere, -torch.inf).argmax(dim=1)
    return torch.where(elsewhere.all(dim=1), -1, nearest)


class DescriptionScore(WrapperMetric):
    """Pointing game and box accuracy of the texts that answer true phrases, with two denominators.

    The public code leaves out images in which nothing was found, so that saying less raises its numbers. They
    are called ``..._answered`` here. The others count every phrase of such an image as missed.

    Args:
        rules: a protocol or the name of a preset.
        published: how the data set publishes its boxes, see `metrics.decisions.Truth`.
        threshold: IoU from which a box is correct.
    """

    def __init__(
        self, rules: Protocol | str = "wwbl", published: PublishedBoxes = "corners", threshold: float = 0.5
    ) -> None:
        super().__init__()
        self.rules = protocol(rules)
        self.published = published
        self.threshold = threshold
        self.pointing_game = Rate()
        self.box_accuracy = Rate()
        self.mean_iou = Mean()
        self.pointing_game_answered = Rate()
        self.box_accuracy_answered = Rate()
        self.answered = Rate()

    def update(
        self,
        heatmaps: Tensor,
        answers: Tensor,
        queries: Queries,
        boxes: Sequence[Tensor],
    ) -> None:
        """Adds a batch.

        Args:
            heatmaps: (M,h,w) of the texts that were found in its images.
            answers: (Q,) long, the text that answers each query, from `nearest_texts`.
            queries: what there was to be said.
            boxes: Q tensors (K,4), where it is; queries without a box are not judged.
        """
        nothing = heatmaps.new_zeros(1, *heatmaps.shape[1:])
        maps = torch.cat([heatmaps, nothing])[answers]  # -1 is the last
        truth = Truth(boxes, self.published)
        decisions = decide(maps, queries, self.rules, truth, judged_only=True)
        answered = answers.cpu()[decisions.queries] >= 0
        hits = decisions.hits & answered
        ious = torch.where(answered, decisions.ious, 0.0)
        self.pointing_game.update(hits)
        self.box_accuracy.update(ious >= self.threshold)
        self.mean_iou.update(ious)
        self.pointing_game_answered.update(hits[answered])
        self.box_accuracy_answered.update(ious[answered] >= self.threshold)
        self.answered.update(answered)

    def compute(self) -> dict[str, Estimate]:
        """All numbers over all processes; ``answered`` is the share of queries whose image has a text."""
        names = ["pointing_game", "box_accuracy", "mean_iou"]
        names += ["pointing_game_answered", "box_accuracy_answered", "answered"]
        return {name: getattr(self, name).compute() for name in names}

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        for part in self.children():
            part.reset()  # type: ignore[operator]
