"""Pseudo-labels of g++ for all places at once, against a loop over the places.

    python -m benchmarks.similarity_maps [--size tiny] [--device cuda]

Random features of 512 channels at 28 x 28 places (224 pixels at stride 8), random masks. The baseline takes a
place at a time, as the paper describes it: its similarity map, the threshold, the overlap with the mask, and
at the end the average of the maps that overlap. The matrix product alone is what a pseudo-label costs at
least. All results must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from lightning_modules.similarity_map.pseudo_labels import (
    PseudoLabelOptions,
    inside,
    pseudo_labels,
    self_similarity,
)

OPTIONS = PseudoLabelOptions()


def at_once(features: Tensor, masks: Tensor) -> Tensor:
    return pseudo_labels(features, masks, OPTIONS).cpu()


def product_alone(features: Tensor, masks: Tensor) -> Tensor:
    return self_similarity(features)[0, 0].cpu()


def place_by_place(features: Tensor, masks: Tensor) -> Tensor:
    """The paper's words as they stand, an image and a place at a time."""
    height, width = features.shape[-2:]
    labels = []
    for image, mask in zip(features, inside(masks, (height, width)), strict=True):
        places = F.normalize(image.flatten(1), dim=0)
        relevant = []
        best = None
        best_iou = -1.0
        for place in range(height * width):
            similarity = places[:, place] @ places
            similar = similarity > OPTIONS.similarity_threshold
            union = (similar | mask).sum().clamp(min=1)
            iou = ((similar & mask).sum() / union).item()
            if iou > OPTIONS.iou_threshold:
                relevant.append(similarity)
            if iou > best_iou:
                best = similarity
                best_iou = iou
        assert best is not None
        labels.append(torch.stack(relevant or [best]).mean(dim=0).view(height, width))
    return torch.stack(labels).clamp(0, 1).cpu()


def run(size: Size, device: str = "cpu") -> Report:
    """How often as fast all places at once are as the loop, and the share of the matrix product in that."""
    images, channels, side = (4, 512, 28) if size == "full" else (2, 16, 6)
    repeats = 3 if size == "full" else 1
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, channels, side, side, generator=generator)
    features[:, :, : side // 2] += 1  # things: the upper half of each image, and the lower half
    features[:, :, side // 2 :] -= 1
    masks = torch.rand(images, 8 * side, 8 * side, generator=generator)
    masks[:, : 4 * side] += 1
    ways = {
        "all at once": partial(at_once, features.to(device), masks.to(device)),
        "loop over places": partial(place_by_place, features.to(device), masks.to(device)),
    }
    torch.testing.assert_close(ways["all at once"](), ways["loop over places"](), rtol=0, atol=1e-5)
    ways["matrix product alone"] = partial(product_alone, features.to(device), masks.to(device))
    seconds = best_seconds(ways, repeats)
    lines = [
        f"{name:21} {images / best:9.1f} images/s  x {best / seconds['all at once']:7.2f}"
        for name, best in seconds.items()
    ]
    speeds = {name: images / best for name, best in seconds.items()}
    rows = [
        rate_row("pseudo-labels of g++", "images", speeds["all at once"], speeds[name], name)
        for name in ("loop over places", "matrix product alone")
    ]
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
