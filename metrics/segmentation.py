"""Mean IoU over the classes of a set, from the counts of all its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from metrics.intervals import Estimate

BACKGROUND = "background"
IGNORED = 255


def has_background(class_names: Sequence[str]) -> bool:
    """Whether pixels may belong to none of the named things."""
    return class_names[0] == BACKGROUND


def label_pixels(masks: Tensor, threshold: float | None) -> Tensor:
    """The likeliest class of each pixel.

    Args:
        masks: (F,h,w) of the classes, background left out.
        threshold: what a class must exceed to win over the background; None where there is no background.

    Returns:
        (h,w) long: 0 for background, then the classes from 1 on; from 0 on without background.

    Example:
        >>> masks = torch.tensor([[[0.3, 0.6]], [[0.2, 0.7]]])
        >>> label_pixels(masks, 0.4).tolist(), label_pixels(masks, None).tolist()
        ([[0, 2]], [[0, 1]])
    """
    highest, labels = masks.max(dim=0)
    if threshold is None:
        return labels
    return torch.where(highest > threshold, labels + 1, 0)


class SegmentationIoU(Metric):
    """Mean IoU, false alarms and misses over classes; sums only.

    The latter two are shares of the union, too, so that the three add up to one (see `metrics.mask_overlap`).
    Classes that neither occur nor are predicted do not count.

    Args:
        class_names: by label; the first may be ``background``.
        threshold: of the background.
    """

    full_state_update = False
    confusion: Tensor
    images: Tensor

    def __init__(self, class_names: Sequence[str], threshold: float = 0.4) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.threshold = threshold if has_background(class_names) else None
        size = len(self.class_names)
        # Rows are true classes, columns predicted ones.
        self.add_state("confusion", torch.zeros(size, size, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, masks: Tensor, labels: Tensor) -> None:
        """Adds an image.

        Args:
            masks: (F,h,w) of the classes, background left out; resized bilinearly to the labels.
            labels: (H,W) uint8; `IGNORED` does not count.
        """
        labels = labels.to(masks.device).long()
        full = F.interpolate(masks[None].float(), labels.shape, mode="bilinear", align_corners=False)[0]
        predicted = label_pixels(full, self.threshold)
        judged = labels != IGNORED
        pairs = labels[judged] * len(self.class_names) + predicted[judged]
        counts = pairs.bincount(minlength=self.confusion.numel())
        self.confusion += counts.view_as(self.confusion).to(self.confusion.device)
        self.images += 1

    def compute(self) -> dict[str, Estimate]:
        """``miou``, ``mfpr``, ``mfnr`` and ``pixel_accuracy``, without intervals, over all processes."""
        confusion = self.confusion.double()
        hits = confusion.diagonal()
        misses = confusion.sum(dim=1) - hits
        alarms = confusion.sum(dim=0) - hits
        union = hits + misses + alarms
        counts = union > 0
        accuracy = float(hits.sum() / confusion.sum()) if confusion.sum() > 0 else math.nan
        return {
            "miou": self._estimate(hits[counts] / union[counts]),
            "mfpr": self._estimate(alarms[counts] / union[counts]),
            "mfnr": self._estimate(misses[counts] / union[counts]),
            "pixel_accuracy": Estimate(accuracy, math.nan, math.nan, int(self.images)),
        }

    def _estimate(self, of_class: Tensor) -> Estimate:
        value = float(of_class.mean()) if len(of_class) else math.nan
        return Estimate(value, math.nan, math.nan, int(self.images))


class OneClassIoU(SegmentationIoU):
    """A baseline that looks at nothing: the same class everywhere in all images, the best one, background
    included.
    """

    def compute(self) -> dict[str, Estimate]:
        """As `SegmentationIoU.compute`, of the class with most pixels; all others are missed."""
        pixels = self.confusion.sum(dim=1)
        share = float(pixels.max() / pixels.sum()) if pixels.sum() > 0 else math.nan
        occurring = max(int((pixels > 0).sum()), 1)
        miou = share / occurring
        mfpr = (1 - share) / occurring
        values = {"miou": miou, "mfpr": mfpr, "mfnr": 1 - miou - mfpr, "pixel_accuracy": share}
        images = int(self.images)
        return {name: Estimate(value, math.nan, math.nan, images) for name, value in values.items()}
