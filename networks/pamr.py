"""PAMR: masks that follow the edges of their image, without any training.

Araslanov and Roth 2020, "Single-Stage Semantic Segmentation from Image Labels", arXiv:2005.08104, section
3.3, in the form that TCL's code has. Each pixel becomes an average over its neighbours, weighted by their
likeness in colour, again and again.

Legend: N images, M masks of each, K neighbours of a pixel.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Making one and multiplying by it is all that is asked of sparse matrices here.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class PAMROptions:
    """How masks are refined.

    Args:
        iterations: how often.
        dilations: distances of the eight neighbours, in pixels of the mask.
    """

    iterations: int = 10
    dilations: tuple[int, ...] = (1, 2, 4, 8, 12, 24)


@torch.no_grad()
def pamr(images: Tensor, masks: Tensor, options: PAMROptions = PAMROptions()) -> Tensor:
    """Refines masks, without gradients.

    All iterations multiply by one sparse matrix: rows are pixels, columns those of the padded masks, values
    the weights of neighbours. Pixels outside are those of the edge.

    Args:
        images: (N,3,H,W), resized to the masks' grid.
        masks: (N,M,h,w).
        options: see there.

    Returns:
        (N,M,h,w) float32.

    Example:
        A blurred edge becomes sharp where the image has one.

        >>> image = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 3, 6, 6)
        >>> mask = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1]).expand(1, 1, 6, 6)
        >>> pamr(image, mask)[0, 0, 3].mul(100).round().int().tolist()
        [7, 7, 7, 93, 93, 93]
    """
    size = masks.shape[-2:]
    with torch.autocast(masks.device.type, enabled=False):
        small = F.interpolate(images.float(), size, mode="bilinear", align_corners=True)
        refined = [
            _refine(mask, neighbour_weights(image, options.dilations), options)
            for image, mask in zip(small, masks.float(), strict=True)
        ]
    return torch.stack(refined)


def neighbour_weights(image: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """How much each neighbour of a pixel counts.

    Args:
        image: (3,h,w) float32.
        dilations: distances of the eight neighbours.

    Returns:
        (h,w,K), 1 in sum over the neighbours, which are ordered as `neighbour_offsets` says.
    """
    offsets = neighbour_offsets(dilations)
    margin = max(dilations)
    height, width = image.shape[-2:]
    padded = F.pad(image[None], (margin,) * 4, mode="replicate")[0]
    neighbours = torch.stack(
        [
            padded[:, margin + dy : margin + dy + height, margin + dx : margin + dx + width]
            for dy, dx in offsets
        ],
        dim=-1,
    )
    # The pixel itself stands once among the neighbours of each distance when the spread is measured.
    itself = image[..., None].expand(*image.shape, len(dilations))
    spread = torch.cat([neighbours, itself], dim=-1).std(dim=-1, keepdim=True)
    distance = (neighbours - image[..., None]).abs() / (1e-8 + 0.1 * spread)
    return (-distance.mean(dim=0)).softmax(dim=-1)


def neighbour_offsets(dilations: tuple[int, ...]) -> list[tuple[int, int]]:
    """The eight neighbours at each distance as (rows down, columns right), in the order of a raster.

    Example:
        >>> neighbour_offsets((1, 3))[:4]
        [(-3, -3), (-3, 0), (-3, 3), (-1, -1)]
    """
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    return sorted((dy * dilation, dx * dilation) for dilation in dilations for dy, dx in steps)


def _refine(mask: Tensor, weights: Tensor, options: PAMROptions) -> Tensor:
    """(M,h,w) masks and (h,w,K) weights -> (M,h,w)."""
    height, width, neighbours = weights.shape
    margin = max(options.dilations)
    padded_width = width + 2 * margin
    rows = torch.arange(height, dtype=torch.int32, device=mask.device) + margin
    columns = torch.arange(width, dtype=torch.int32, device=mask.device) + margin
    pixels = rows[:, None] * padded_width + columns
    steps = [dy * padded_width + dx for dy, dx in neighbour_offsets(options.dilations)]
    column_of_value = pixels[..., None] + torch.tensor(steps, dtype=torch.int32, device=mask.device)
    averaging = torch.sparse_csr_tensor(
        torch.arange(height * width + 1, dtype=torch.int32, device=mask.device) * neighbours,
        column_of_value.flatten(),
        weights.flatten(),
        size=(height * width, (height + 2 * margin) * padded_width),
        check_invariants=False,
    )
    for _ in range(options.iterations):
        padded = F.pad(mask[None], (margin,) * 4, mode="replicate")[0]
        mask = (averaging @ padded.flatten(1).t()).t().unflatten(1, (height, width))
    return mask.contiguous()
