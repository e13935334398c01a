"""Are the words of a caption that a model selects its tags, and does it rank them first?

As the published numbers of TTD imply (precision, recall and accuracy fit together for one share of positive
words only), all words of all captions count alike, stop words and punctuation included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate, mean_estimate, rate_estimate
from metrics.sums import SCALE, fixed_point


def average_precision(scores: Tensor, positives: Tensor) -> float:
    """Precision at each rank at which recall grows, weighted by the growth; equal scores are one rank.

    Args:
        scores: (n,), not NaN.
        positives: (n,) bool.

    Returns:
        The average precision; nan without a positive.

    Example:
        >>> average_precision(torch.tensor([0.9, 0.5, 0.4]), torch.tensor([True, False, True]))
        0.8333333333333333
    """
    count = int(positives.sum())
    if count == 0:
        return math.nan
    ranked, order = scores.sort(descending=True)
    hits = positives[order].double().cumsum(dim=0)
    last_of_equal = torch.ones(len(ranked), dtype=torch.bool, device=scores.device)
    last_of_equal[:-1] = ranked[:-1] != ranked[1:]
    hits_so_far = hits[last_of_equal]
    seen_so_far = last_of_equal.nonzero()[:, 0] + 1
    new_hits = hits_so_far.diff(prepend=hits_so_far.new_zeros(1))
    return float((new_hits * hits_so_far / seen_so_far).sum() / count)


class TagSelection(Metric):
    """Precision, recall, F1 and accuracy over all words, and average precision over captions; sums only."""

    full_state_update = False
    counts: Tensor
    precisions: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Hits, misses and false alarms, and all words; sum, sum of squares, and number of captions.
        self.add_state("counts", torch.zeros(4, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("precisions", torch.zeros(3, dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        scores: Tensor,
        selected: Tensor,
        tags: Sequence[bool],
        judged: Sequence[bool] | None = None,
    ) -> None:
        """Adds a caption.

        Args:
            scores: (W,) of its words; the lowest, say ``-inf``, for those that are no candidates.
            selected: (W,) bool.
            tags: for each word whether it is a tag.
            judged: for each word whether it counts; None if all do.

        Raises:
            ValueError: lengths that differ, or a score is NaN.
        """
        if not len(scores) == len(selected) == len(tags):
            raise ValueError(
                f"{len(scores)} scores and {len(selected)} decisions for a caption of {len(tags)} words."
            )
        if scores.isnan().any():
            raise ValueError("the score of a word is NaN.")
        counted = torch.tensor([True] * len(tags) if judged is None else judged, dtype=torch.bool)
        scores = scores.detach().cpu()[counted]
        selected = selected.detach().cpu()[counted]
        truth = torch.tensor(tags, dtype=torch.bool)[counted]
        counts = [(selected & truth).sum(), (~selected & truth).sum(), (selected & ~truth).sum(), len(truth)]
        self.counts += torch.tensor(counts, device=self.counts.device)
        if truth.any():
            precision = torch.tensor(average_precision(scores, truth), dtype=torch.float64)
            sums = [int(fixed_point(precision)), int(fixed_point(precision**2)), 1]
            self.precisions += torch.tensor(sums, device=self.precisions.device)

    def compute(self) -> dict[str, Estimate]:
        """``precision``, ``recall``, ``f1``, ``accuracy`` and ``map`` (over captions that have a tag), over
        all processes. F1 has no interval.
        """
        hits, misses, alarms, words = self.counts.tolist()
        total, squares, captions = self.precisions.tolist()
        both = 2 * hits + misses + alarms
        f1 = 2 * hits / both if both else math.nan
        return {
            "precision": rate_estimate(hits, hits + alarms),
            "recall": rate_estimate(hits, hits + misses),
            "f1": Estimate(f1, math.nan, math.nan, words),
            "accuracy": rate_estimate(words - misses - alarms, words),
            "map": mean_estimate(total / SCALE, squares / SCALE, captions),
        }
