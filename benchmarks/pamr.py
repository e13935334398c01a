"""Speed of PAMR, which brings masks nearer to the edges of an image, against the plain form in the same run.

    python -m benchmarks.pamr [--size tiny] [--device cuda]

21 masks of a picture of 448 x 448 pixels at two grids, TCL's (112 x 112) and 224 x 224, ten iterations. The
plain form gathers the 48 neighbours of each pixel of each mask by convolutions in every iteration, as the
public codes do; ours multiplies by one sparse matrix. Both must agree.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from networks.pamr import PAMROptions, pamr

MASKS = 21
# Sides of picture and masks.
GRIDS: dict[Size, tuple[tuple[int, int], ...]] = {"tiny": ((32, 8),), "full": ((448, 112), (448, 224))}
REPEATS: dict[Size, int] = {"tiny": 1, "full": 2}


def neighbours(x: Tensor, dilations: Sequence[int], with_itself: bool) -> Tensor:
    """(B,C,h,w) -> (B,C,K,h,w) by convolutions with kernels that pick one neighbour each."""
    picked = [place for place in range(9) if with_itself or place != 4]
    kernels = torch.eye(9, device=x.device)[picked].view(-1, 1, 3, 3)
    channels = x.flatten(0, 1)[:, None]
    gathered = []
    for dilation in dilations:
        padded = F.pad(channels, (dilation,) * 4, mode="replicate")
        gathered.append(F.conv2d(padded, kernels, dilation=dilation).unflatten(0, x.shape[:2]))
    return torch.cat(gathered, dim=2)


@torch.no_grad()
def plain(image: Tensor, masks: Tensor, options: PAMROptions) -> Tensor:
    """(B,3,H,W), (B,M,h,w) -> (B,M,h,w)."""
    image = F.interpolate(image, masks.shape[-2:], mode="bilinear", align_corners=True)
    spread = neighbours(image, options.dilations, True).std(dim=2, keepdim=True)
    distance = (neighbours(image, options.dilations, False) - image[:, :, None]).abs()
    weights = (-distance / (1e-8 + 0.1 * spread)).mean(dim=1, keepdim=True).softmax(dim=2)
    for _ in range(options.iterations):
        masks = (neighbours(masks, options.dilations, False) * weights).sum(dim=2)
    return masks


def run(size: Size, device: str = "cpu") -> Report:
    """How often as fast ours is at each grid."""
    options = PAMROptions()
    generator = torch.Generator().manual_seed(0)
    lines = []
    rows = []
    for side, grid in GRIDS[size]:
        image = torch.rand(1, 3, side, side, generator=generator).to(device)
        masks = torch.rand(1, MASKS, grid, grid, generator=generator).to(device)
        torch.testing.assert_close(
            pamr(image, masks, options), plain(image, masks, options), rtol=1e-4, atol=1e-5
        )
        ways = {
            "plain": partial(finished, plain, image, masks, options),
            "sparse": partial(finished, pamr, image, masks, options),
        }
        clock = time.process_time if device == "cpu" else time.perf_counter
        seconds = best_seconds(ways, REPEATS[size], clock)
        ratio = seconds["plain"] / seconds["sparse"]
        rates = ", ".join(f"{name} {1 / taken:.2f} images/s" for name, taken in seconds.items())
        lines.append(f"{MASKS} masks of {grid} x {grid}: {rates}: {ratio:.2f} x as fast")
        path = f"PAMR of {MASKS} masks of {grid} x {grid}"
        rows.append(rate_row(path, "images", 1 / seconds["sparse"], 1 / seconds["plain"], "convolutions"))
    return Report(lines, rows)


def finished(way: object, image: Tensor, masks: Tensor, options: PAMROptions) -> None:
    """A call for which the device was waited."""
    way(image, masks, options).sum().item()  # type: ignore[operator]


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
