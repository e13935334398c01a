"""Images a second that an EfficientNet-Lite sees on one core, with and without keeping freed memory.

    python -m benchmarks.freed_memory [--size tiny]

The weights are random. Each way has a process of its own, since what glibc is told holds for all of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from benchmarks._common import Report, Size, highest_resident, in_own_process, rate_row, report
from commands.memory import keep_freed_memory
from networks.photo_encoders import ImageTower


def images_per_second(keep: bool, side: int, batch: int, repeats: int) -> tuple[float, float]:
    """The best of several passes, and MiB that the process has had at most."""
    if keep:
        keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower = ImageTower("tf_efficientnet_lite0").eval()
    images = torch.randn(batch, 3, side, side)
    best = float("inf")
    with torch.no_grad():
        tower(images)
        for _ in range(repeats):
            start = time.process_time()
            tower(images)
            best = min(best, time.process_time() - start)
    return batch / best, highest_resident()


def run(size: Size) -> Report:
    """How often as fast a tower is where freed memory is kept, at several sizes of image."""
    sides = (64,) if size == "tiny" else (224, 448)
    batch, repeats = (2, 1) if size == "tiny" else (32, 5)
    lines = [f"EfficientNet-Lite0, {batch} images at once, best of {repeats}, processor time"]
    rows = []
    for side in sides:
        plain, plain_memory = in_own_process(images_per_second, False, side, batch, repeats)
        kept, kept_memory = in_own_process(images_per_second, True, side, batch, repeats)
        path = f"EfficientNet-Lite0 on {batch} images of {side} px, freed memory kept"
        share = f"{kept_memory / plain_memory:.2f} x"
        rows.append(rate_row(path, "images", kept, plain, "given back", share))
        lines.append(
            f"{side} px: given back {plain:.1f} images/s ({plain_memory:.0f} MiB), kept {kept:.1f} "
            f"({kept_memory:.0f} MiB), ratio {kept / plain:.2f}"
        )
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv)


if __name__ == "__main__":
    main()
