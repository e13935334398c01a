"""How far masks cover the regions that they should: CaptionIoU, and the IoU of referring expressions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from metrics.intervals import Estimate, mean_estimate, mean_interval
from metrics.sums import SCALE, fixed_point


class Overlap(NamedTuple):
    """Pixels of a mask and a region.

    Args:
        hits: in both.
        alarms: in the mask only.
        misses: in the region only.
    """

    hits: int
    alarms: int
    misses: int

    @property
    def union(self) -> int:
        """In either."""
        return self.hits + self.alarms + self.misses


def overlap(mask: Tensor, region: Tensor, threshold: float) -> Overlap:
    """Counts pixels.

    Args:
        mask: (h,w) soft, resized bilinearly to the region.
        region: (H,W) bool.
        threshold: above which a pixel of the mask is set.

    Example:
        >>> overlap(torch.tensor([[0.9, 0.9, 0.1]]), torch.tensor([[True, False, False]]), 0.5)
        Overlap(hits=1, alarms=1, misses=0)
    """
    full = F.interpolate(mask[None, None].float(), region.shape, mode="bilinear", align_corners=False)[0, 0]
    predicted = full > threshold
    region = region.to(predicted.device)
    counts = torch.stack(
        [(predicted & region).sum(), (predicted & ~region).sum(), (~predicted & region).sum()]
    )
    return Overlap(*counts.tolist())


def mean_correlation(masks: Tensor) -> float:
    """How alike masks are: the mean of Pearson's correlation over all pairs.

    Args:
        masks: (C,h,w) soft.

    Returns:
        In [-1,1]; nan for fewer than two masks that are not the same everywhere.

    Example:
        >>> left = torch.tensor([[1.0, 0.0]])
        >>> round(mean_correlation(torch.stack([left, left, 1 - left])), 4)
        -0.3333
    """
    rows = masks.flatten(1).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    rows = rows[rows.norm(dim=1) > 0]
    if len(rows) < 2:
        return math.nan
    rows = F.normalize(rows, dim=1)
    pairs = (rows @ rows.T).triu(diagonal=1)
    return float(pairs.sum() / (len(rows) * (len(rows) - 1) / 2))


class CaptionIoU(Metric):
    """IoU, false alarms and misses of whole captions (TTD's "text-level" numbers); sums only.

    The three are shares of the union, so that they add up to one, as all rows that the paper prints do. Its
    mFPR and mFNR are not the usual rates.

    Two numbers beside them tell whether the masks still say anything: their share of the image, and how alike
    those of the caption's different tags are. Both rise where a model drifts into finding the foreground
    whatever the text.

    Args:
        threshold: above which a pixel of the mask is set.
    """

    full_state_update = False
    pixels: Tensor
    sums: Tensor
    squares: Tensor
    images: Tensor
    shares: Tensor
    correlations: Tensor

    def __init__(self, threshold: float = 0.4) -> None:
        super().__init__()
        self.threshold = threshold
        # Sum, sum of squares, and number of captions.
        for name in ("shares", "correlations"):
            self.add_state(name, torch.zeros(3, dtype=torch.long), dist_reduce_fx="sum")
        # Of hits, false alarms and misses: pixels of all images, and sums over images of their shares.
        for name in ("pixels", "sums", "squares"):
            self.add_state(name, torch.zeros(3, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, mask: Tensor, region: Tensor, tag_masks: Tensor | None = None) -> None:
        """Adds a caption.

        Args:
            mask: (h,w) in [0,1], of the caption.
            region: (H,W) bool, the union of the masks of its tags.
            tag_masks: (C,h,w) in [0,1], those of its different tags; None not to compare them.
        """
        counts = overlap(mask, region, self.threshold)
        self._add("shares", (counts.hits + counts.alarms) / region.numel())
        if tag_masks is not None:
            self._add("correlations", mean_correlation(tag_masks))
        if counts.union == 0:
            return
        shares = torch.tensor(counts, dtype=torch.float64, device=self.pixels.device) / counts.union
        self.pixels += torch.tensor(counts, device=self.pixels.device)
        self.sums += fixed_point(shares)
        self.squares += fixed_point(shares**2)
        self.images += 1

    def _add(self, name: str, value: float) -> None:
        if math.isnan(value):
            return
        number = torch.tensor(value, dtype=torch.float64)
        sums = [int(fixed_point(number)), int(fixed_point(number**2)), 1]
        getattr(self, name).add_(torch.tensor(sums, device=self.pixels.device))

    def compute(self) -> dict[str, Estimate]:
        """``miou``, ``mfpr`` and ``mfnr`` of the pixels of all images together, without intervals;
        ``image_miou``, ``image_mfpr``, ``image_mfnr``, the means over images; ``mask_share``, and, where tags
        were compared, ``tag_correlation``; over all processes.
        """
        images = int(self.images)
        union = int(self.pixels.sum())
        estimates = {}
        for number, name in enumerate(("miou", "mfpr", "mfnr")):
            share = int(self.pixels[number]) / union if union else math.nan
            total = int(self.sums[number]) / SCALE
            squares = int(self.squares[number]) / SCALE
            estimates[name] = Estimate(share, math.nan, math.nan, images)
            estimates[f"image_{name}"] = mean_estimate(total, squares, images)
        for name, sums in (("mask_share", self.shares), ("tag_correlation", self.correlations)):
            captions = int(sums[2])
            if captions:
                total = int(sums[0]) / SCALE
                interval = mean_interval(
                    total, int(sums[1]) / SCALE, captions
                )  # correlations may be negative
                estimates[name] = Estimate(total / captions, *interval, captions)
        return estimates


class ReferringIoU(Metric):
    """IoU of the masks of referring expressions: mean over expressions, and overall; sums only.

    Args:
        threshold: above which a pixel of the mask is set.
    """

    full_state_update = False
    pixels: Tensor
    ious: Tensor

    def __init__(self, threshold: float = 0.4) -> None:
        super().__init__()
        self.threshold = threshold
        # Pixels of all intersections and unions; sum and sum of squares of the IoUs, and their number.
        self.add_state("pixels", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("ious", torch.zeros(3, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, mask: Tensor, region: Tensor) -> None:
        """Adds an expression.

        Args:
            mask: (h,w) in [0,1].
            region: (H,W) bool. An empty one, met by an empty mask, has an IoU of 0, as is customary.
        """
        counts = overlap(mask, region, self.threshold)
        self.pixels += torch.tensor([counts.hits, counts.union], device=self.pixels.device)
        iou = torch.tensor(counts.hits / max(counts.union, 1), dtype=torch.float64)
        sums = [int(fixed_point(iou)), int(fixed_point(iou**2)), 1]
        self.ious += torch.tensor(sums, device=self.ious.device)

    def compute(self) -> dict[str, Estimate]:
        """``miou``, and ``oiou``: the intersections of all expressions over their unions, without interval;
        over all processes.
        """
        total, squares, expressions = self.ious.tolist()
        mean = mean_estimate(total / SCALE, squares / SCALE, expressions)
        hits, union = self.pixels.tolist()
        overall = hits / union if union else math.nan
        return {"miou": mean, "oiou": Estimate(overall, math.nan, math.nan, expressions)}
