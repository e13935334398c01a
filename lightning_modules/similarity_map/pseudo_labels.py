"""The pseudo-labels of g++: maps of what is similar to a place, for the places whose map fits the mask of g.

The paper defines them in its section 3 and has published no code. All places are treated at once: one matrix
product for all similarities, one for all intersections, one for the average.

Legend: B masks, D channels, P = h*w places of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.layers.precision import full_precision

Centre = Literal["none", "spatial"]
Reduce = Literal["nearest", "area", "max"]


@dataclass(frozen=True)
class SimilarityTrunk:
    """Another network whose features are compared in place of the teacher's (the paper's table 2).

    Args:
        name: see `networks.image_trunks.ImageTrunk`: ``fcn_resnet50`` for "segmentation encoder", ``vgg16``
            for "classification encoder"; None for the teacher's own features.
        stride: between two features.
        pretrained: file of its weights.
        mean: of its images, per channel; ImageNet's by default.
        std: likewise.
    """

    name: str | None = None
    stride: int = 8
    pretrained: Path | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PseudoLabelOptions:
    """How pseudo-labels are made. The paper leaves most of it open.

    Args:
        features: whose cosines are the similarities: ``pre_relu``, the bottleneck before its last ReLU, whose
            cosines have both signs, so that a threshold of 0 is "the middle of the range" as the paper says;
            ``post_relu``, Z_I(I) as the paper writes it, which is nowhere negative, so that all places are
            similar above 0; or the ``encoder``'s last layer, for which the same holds.
        trunk: a network whose features are compared in place of those.
        centre: subtract the mean over the places of the image first (``spatial``), which gives any features
            cosines of both signs.
        similarity_threshold: similarities above it count as similar; ``mean`` is the mean of all pairs of
            places of the image.
        mask_threshold: pixels above this share of the mask's greatest value count as inside.
        mask_reduce: how the thresholded mask is brought to the grid of places: the ``nearest`` pixel, most of
            the ``area``, or any pixel (``max``).
        iou_threshold: tau. A place is relevant if the overlap of its map with the mask exceeds it.
        select: the average of all relevant maps, or only the ``best`` (the paper's ablation without
            aggregation).
        average: of the similarities as they are (``real``), or of the thresholded ones (``binary``).
        clamp: keep pseudo-labels in [0,1], in which masks are. Similarities can be negative.
        times_mask: multiply the result by the mask. Similarities saturate within an object, where their
            greatest value is anywhere; the mask says where in the object to point. Not in the paper.
    """

    features: Literal["pre_relu", "post_relu", "encoder"] = "pre_relu"
    trunk: SimilarityTrunk = SimilarityTrunk()
    centre: Centre = "none"
    similarity_threshold: float | Literal["mean"] = 0.0
    mask_threshold: float = 0.5
    mask_reduce: Reduce = "nearest"
    iou_threshold: float = 0.6
    select: Literal["all", "best"] = "all"
    average: Literal["real", "binary"] = "real"
    clamp: bool = True
    times_mask: bool = False


def self_similarity(features: Tensor, centre: Centre = "none") -> Tensor:
    """Cosines of all pairs of places.

    Args:
        features: (B,D,h,w).
        centre: see `PseudoLabelOptions`.

    Returns:
        (B,P,P), row p the map S of place p.

    Example:
        >>> features = torch.tensor([[[[1.0, 0.0, -2.0]], [[0.0, 3.0, 0.0]]]])
        >>> self_similarity(features)[0, 0].tolist()
        [1.0, 0.0, -1.0]
    """
    places = full_precision(features.flatten(2))
    if centre == "spatial":
        places = places - places.mean(dim=2, keepdim=True)
    places = F.normalize(places, dim=1)
    return places.transpose(1, 2) @ places


def inside(masks: Tensor, grid: Sequence[int], threshold: float = 0.5, reduce: Reduce = "nearest") -> Tensor:
    """Which places lie inside a mask.

    Args:
        masks: (B,H,W).
        grid: (h, w), which divide H and W.
        threshold: see `PseudoLabelOptions.mask_threshold`.
        reduce: see `PseudoLabelOptions.mask_reduce`.

    Returns:
        (B,P) bool.
    """
    pixels = masks > threshold * masks.amax(dim=(1, 2), keepdim=True)
    if reduce == "nearest":
        rows = torch.arange(grid[0], device=masks.device) * masks.shape[1] // grid[0]
        columns = torch.arange(grid[1], device=masks.device) * masks.shape[2] // grid[1]
        return pixels[:, rows[:, None], columns].flatten(1)
    cells = (grid[0], grid[1])
    if reduce == "max":
        shares = F.adaptive_max_pool2d(pixels.to(masks.dtype), cells)
    else:
        shares = F.adaptive_avg_pool2d(pixels.to(masks.dtype), cells)
    return (shares > 0.5).flatten(1)


def overlaps(similar: Tensor, inside_mask: Tensor) -> Tensor:
    """The IOU of the thresholded map of every place with the mask.

    Args:
        similar: (B,P,P) bool, row p what is similar to place p.
        inside_mask: (B,P) bool.

    Returns:
        (B,P) float32; 0 where both are empty.

    Example:
        >>> similar = torch.tensor([[[True, True], [False, True]]])
        >>> overlaps(similar, torch.tensor([[True, False]])).tolist()
        [[0.5, 0.0]]
    """
    # Counts up to 2^24 are exact in float32. One pass over the maps counts both their areas and what they
    # share with the mask.
    mask = inside_mask.float()
    columns = torch.stack([mask, torch.ones_like(mask)], dim=2)
    intersection, area = (similar.float() @ columns).unbind(2)
    union = area + mask.sum(dim=1, keepdim=True) - intersection
    return intersection / union.clamp(min=1)


def selection(ious: Tensor, threshold: float = 0.6, select: Literal["all", "best"] = "all") -> Tensor:
    """Which places are relevant: (B,P) bool, in each row at least one, the first with the greatest overlap.

    Example:
        >>> selection(torch.tensor([[0.7, 0.9, 0.2], [0.1, 0.3, 0.3]])).tolist()
        [[True, True, False], [False, True, False]]
    """
    best = F.one_hot(ious.argmax(dim=1), ious.shape[1]).bool()
    if select == "best":
        return best
    relevant = ious > threshold
    return torch.where(relevant.any(dim=1, keepdim=True), relevant, best)


def pseudo_labels(
    features: Tensor, masks: Tensor, options: PseudoLabelOptions = PseudoLabelOptions()
) -> Tensor:
    """Mbar: the average of the similarity maps that overlap with the mask of g.

    Args:
        features: (B,D,h,w), of the images.
        masks: (B,H,W) in [0,1], of g.
        options: how.

    Returns:
        (B,h,w).
    """
    return aggregate(self_similarity(features, options.centre), features.shape[-2:], masks, options)


def aggregate(
    similarities: Tensor, grid: Sequence[int], masks: Tensor, options: PseudoLabelOptions
) -> Tensor:
    """The second half of `pseudo_labels`, for similarities (B,P,P) that are known already."""
    if options.similarity_threshold == "mean":
        similar = similarities > similarities.mean(dim=(1, 2), keepdim=True)
    else:
        similar = similarities > options.similarity_threshold
    inside_mask = inside(masks, grid, options.mask_threshold, options.mask_reduce)
    chosen = selection(overlaps(similar, inside_mask), options.iou_threshold, options.select)
    maps = similar.float() if options.average == "binary" else similarities
    weights = chosen.to(maps.dtype) / chosen.sum(dim=1, keepdim=True)
    average = (weights[:, None] @ maps).view(-1, *grid)
    if options.times_mask:
        average = average * F.adaptive_avg_pool2d(full_precision(masks), (grid[0], grid[1]))
    return average.clamp(0, 1) if options.clamp else average
