"""From a map to a mask: prompts for a segmenter at the places where the map is highest, as HIST does (section
4.2).

Legend: h x w the grid of a map, H x W the size of the image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def top_patches(heatmap: Tensor, count: int = 4) -> Tensor:
    """The centres of the highest cells of a map, highest first.

    Args:
        heatmap: (h,w).
        count: how many; all of them where there are fewer.

    Returns:
        (count,2) y and x, as fractions of the image.

    Example:
        >>> top_patches(torch.tensor([[0.1, 0.9], [0.3, 0.2]]), 2).tolist()
        [[0.25, 0.75], [0.75, 0.25]]
    """
    height, width = heatmap.shape
    cells = heatmap.flatten().topk(min(count, heatmap.numel())).indices
    return torch.stack([(cells // width + 0.5) / height, (cells % width + 0.5) / width], dim=1)


class Prompter(ABC):
    """Makes masks from maps.

    Attributes:
        name: as results are called.
    """

    name: str

    @abstractmethod
    def mask(self, image: np.ndarray, heatmap: Tensor) -> Tensor:
        """The mask of one map.

        Args:
            image: (H,W,3) uint8 RGB.
            heatmap: (h,w) in [0,1].

        Returns:
            (h',w') in [0,1]; a pixel is set above 0.5.
        """


class MapThreshold(Prompter):
    """No segmenter: what of the map lies above a threshold.

    Args:
        threshold: as a share of the map's maximum.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.name = "threshold"
        self.threshold = threshold

    def mask(self, image: np.ndarray, heatmap: Tensor) -> Tensor:
        """See `Prompter.mask`."""
        full = F.interpolate(
            heatmap[None, None].float(), image.shape[:2], mode="bicubic", align_corners=False
        )
        return (full[0, 0] > self.threshold * full.max()).float()


class GrabCut(Prompter):
    """GrabCut (Rother et al. 2004, OpenCV): pixels that look like those near the highest patches.

    It needs no weights, where the paper asks SAM. The centres of the patches are foreground for sure, what is
    farther from all of them than ``reach`` is background, and the colours decide in between.

    Args:
        patches: how many of the map's cells are asked, 4 in HIST.
        reach: radius around the centre of a patch, as a share of the image's longer side.
        iterations: of the algorithm.
    """

    def __init__(self, patches: int = 4, reach: float = 0.15, iterations: int = 5) -> None:
        self.name = "grabcut"
        self.patches = patches
        self.reach = reach
        self.iterations = iterations

    def mask(self, image: np.ndarray, heatmap: Tensor) -> Tensor:
        """See `Prompter.mask`."""
        height, width = image.shape[:2]
        side = max(height, width)
        rows, columns = np.mgrid[:height, :width] + 0.5
        labels = np.full((height, width), cv2.GC_BGD, np.uint8)
        centres = top_patches(heatmap, self.patches).tolist()
        for label, radius in ((cv2.GC_PR_FGD, self.reach * side), (cv2.GC_FGD, max(1.5, 0.01 * side))):
            for y, x in centres:
                labels[(rows - y * height) ** 2 + (columns - x * width) ** 2 <= radius**2] = label
        if (labels != cv2.GC_BGD).all():
            return torch.ones(height, width)
        cv2.setRNGSeed(0)
        cv2.grabCut(  # type: ignore[call-overload]
            np.ascontiguousarray(image),
            labels,
            None,
            bgdModel=np.zeros((1, 65)),
            fgdModel=np.zeros((1, 65)),
            iterCount=self.iterations,
            mode=cv2.GC_INIT_WITH_MASK,
        )
        is_foreground = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        return torch.from_numpy(is_foreground.astype(np.float32))
