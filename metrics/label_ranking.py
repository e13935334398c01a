"""Mean average precision over classes of images that show several (NUS-WIDE)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.wrappers.abstract import WrapperMetric

from metrics.intervals import Estimate
from metrics.tags import average_precision
from metrics.whole_set import WholeSet


class LabelRanking(WrapperMetric):
    """For each class the average precision of the ranking of all images, averaged over the classes.

    Args:
        class_names: C of them, in the order of the scores.
    """

    full_state_update = False

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.rows = WholeSet(width=2 * len(self.class_names))

    def update(self, keys: Sequence[str], scores: Tensor, labels: Tensor) -> None:
        """Adds images.

        Args:
            keys: N names, unique within the set.
            scores: (N,C).
            labels: (N,C) bool.
        """
        self.rows.update(keys, torch.cat([scores.float(), labels.to(scores.device).float()], dim=1))

    def reset(self) -> None:
        """Starts over."""
        super().reset()
        self.rows.reset()

    def compute(self) -> dict[str, Estimate]:
        """``map`` over the classes that an image shows, without interval, over all processes."""
        keys, rows = self.rows.compute()
        classes = len(self.class_names)
        scores, labels = rows.split(classes, dim=1)
        values = [average_precision(scores[:, n], labels[:, n] > 0) for n in range(classes)]
        shown = [value for value in values if not math.isnan(value)]
        mean = sum(shown) / len(shown) if shown else math.nan
        return {"map": Estimate(mean, math.nan, math.nan, len(keys))}
