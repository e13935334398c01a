"""How far masks cover the regions that they should: CaptionIoU, and the IoU of referring expressions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from metrics.intervals import Estimate
from metrics.sums import Mean


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


class CaptionIoU(Metric):
    """IoU, false alarms and misses of whole captions (TTD's "text-level" numbers); sums only.

    The three are shares of the union, so that they add up to one, as all rows that the paper prints do. Its
    mFPR and mFNR are not the usual rates.

    Args:
        threshold: above which a pixel of the mask is set.
    """

    full_state_update = False
    pixels: Tensor

    def __init__(self, threshold: float = 0.4) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("pixels", torch.zeros(3, dtype=torch.long), dist_reduce_fx="sum")
        self.image_iou = Mean()
        self.image_fpr = Mean()
        self.image_fnr = Mean()

    def update(self, mask: Tensor, region: Tensor) -> None:
        """Adds a caption.

        Args:
            mask: (h,w) in [0,1], of the caption.
            region: (H,W) bool, the union of the masks of its tags.
        """
        counts = overlap(mask, region, self.threshold)
        self.pixels += torch.tensor(counts, device=self.pixels.device)
        if counts.union:
            shares = torch.tensor(counts, dtype=torch.float64) / counts.union
            self.image_iou.update(shares[:1])
            self.image_fpr.update(shares[1:2])
            self.image_fnr.update(shares[2:])

    def compute(self) -> dict[str, Estimate]:
        """``miou``, ``mfpr`` and ``mfnr`` of the pixels of all images together, without intervals, and
        ``image_miou``, ``image_mfpr``, ``image_mfnr``, the means over images; over all processes.
        """
        image_means = {
            "image_miou": self.image_iou.compute(),
            "image_mfpr": self.image_fpr.compute(),
            "image_mfnr": self.image_fnr.compute(),
        }
        images = image_means["image_miou"].n
        counts = Overlap(*self.pixels.tolist())
        return {
            name: Estimate(count / counts.union if counts.union else math.nan, math.nan, math.nan, images)
            for name, count in zip(("miou", "mfpr", "mfnr"), counts, strict=True)
        } | image_means


class ReferringIoU(Metric):
    """IoU of the masks of referring expressions: mean over expressions, and overall; sums only.

    Args:
        threshold: above which a pixel of the mask is set.
    """

    full_state_update = False
    pixels: Tensor

    def __init__(self, threshold: float = 0.4) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("pixels", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")
        self.iou = Mean()

    def update(self, mask: Tensor, region: Tensor) -> None:
        """Adds an expression.

        Args:
            mask: (h,w) in [0,1].
            region: (H,W) bool. An empty one, met by an empty mask, has an IoU of 0, as is customary.
        """
        counts = overlap(mask, region, self.threshold)
        self.pixels += torch.tensor([counts.hits, counts.union], device=self.pixels.device)
        self.iou.update(torch.tensor([counts.hits / max(counts.union, 1)], dtype=torch.float64))

    def compute(self) -> dict[str, Estimate]:
        """``miou``, and ``oiou``: the intersections of all expressions over their unions, without interval;
        over all processes.
        """
        mean = self.iou.compute()
        hits, union = self.pixels.tolist()
        overall = hits / union if union else math.nan
        return {"miou": mean, "oiou": Estimate(overall, math.nan, math.nan, mean.n)}
