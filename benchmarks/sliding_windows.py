"""Speed of sliding windows: all windows of a picture together, against one by one, in the same run.

    python -m benchmarks.sliding_windows [--size tiny] [--device cuda]

A MaskCLIP of random weights (ViT-B/16 at full size) on a picture of 448 x 672 pixels, windows of 448 with a
stride of 224, 21 classes. Texts are encoded once in both forms. Both must agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from callbacks.soft_masks import MaskRules, resized, window_grid, windowed_masks
from networks.clip_dense import DenseCLIP

CLASSES = 21
SIDES: dict[Size, tuple[int, int]] = {"tiny": (64, 96), "full": (448, 672)}
REPEATS: dict[Size, int] = {"tiny": 1, "full": 2}
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1},
}


def model(size: Size, device: str) -> DenseCLIP:
    config: Any = TINY
    if size == "full":
        whole = open_clip.get_model_config("ViT-B-16-quickgelu") or {}
        config = {part: whole[part] for part in ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")}
    torch.manual_seed(0)
    return DenseCLIP(CLIP(**config), lambda texts: torch.zeros(len(texts), 8).long()).to(device).eval()


def one_by_one(segment: Callable[..., Tensor], image: Tensor, rules: MaskRules) -> Tensor:
    """(3,H,W) -> (C,H,W)."""
    height, width = image.shape[-2:]
    total = image.new_zeros(CLASSES, height, width)
    seen = image.new_zeros(height, width)
    for window in window_grid((height, width), rules.window or height, rules.stride):
        masks = segment(window.of(image)[None])[0]
        window.of(total).add_(resized(masks, (window.height, window.width)))
        window.of(seen).add_(1)
    return total / seen


@torch.no_grad()
def run(size: Size, device: str = "cpu") -> Report:
    """How often as fast the windows are together."""
    height, width = SIDES[size]
    clip = model(size, device)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, height, width, generator=generator).to(device)
    texts = F.normalize(torch.randn(CLASSES, clip.dim, generator=generator), dim=1).to(device)
    rules = MaskRules("windows", window=height, stride=height // 2)

    def segment(images: Tensor, refine: Any = None) -> Tensor:
        return clip.masks(images, texts, refine)

    together = windowed_masks(segment, image, rules)
    torch.testing.assert_close(together, one_by_one(segment, image, rules), rtol=1e-3, atol=1e-4)
    ways = {
        "one by one": partial(finished, one_by_one, segment, image, rules),
        "together": partial(finished, windowed_masks, segment, image, rules),
    }
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = best_seconds(ways, REPEATS[size], clock)
    ratio = seconds["one by one"] / seconds["together"]
    rates = ", ".join(f"{name} {1 / taken:.2f} images/s" for name, taken in seconds.items())
    path = f"windows of {height} px over an image, {CLASSES} classes"
    row = rate_row(path, "images", 1 / seconds["together"], 1 / seconds["one by one"], "one by one")
    return Report([f"{height} x {width}: {rates}: {ratio:.2f} x as fast"], [row])


def finished(way: Any, segment: Any, image: Tensor, rules: MaskRules) -> None:
    """A call for which the device was waited."""
    way(segment, image, rules).sum().item()


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
