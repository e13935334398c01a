"""Where evaluations get the soft masks of an image from: sliding windows, several scales, mirror images, and
refinement along edges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, Literal, NamedTuple, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.batches import ImageBatch
from networks.pamr import PAMROptions, pamr

PIXELS_AT_ONCE = 8 * 448 * 448  # of windows that the module sees together


@dataclass(frozen=True)
class MaskRules:
    """How an image's soft masks are made and decided.

    Args:
        name: as results are called.
        threshold: what a mask must exceed to win over the background, where there is one.
        scales: sizes of the image, as multiples of that which the data gives; masks are averaged.
        flip: whether the mirror image counts, too.
        window: side of the square windows that are seen one by one, in pixels; None for the whole image.
        stride: from window to window.
        refine: PAMR on what the module predicts of each ``window``, before it mixes in anything else; on the
            averaged masks of the whole ``image``, at the size of the image; or ``none``.
        pamr: its settings.
    """

    name: str
    threshold: float = 0.4
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None
    stride: int = 224
    refine: Literal["window", "image", "none"] = "none"
    pamr: PAMROptions = field(default_factory=PAMROptions)


PRESETS = {
    rules.name: rules
    for rules in (
        MaskRules("plain"),
        # TCL's own protocol: the shorter side 448 pixels, windows that overlap by half.
        MaskRules("tcl", window=448, stride=224, refine="window"),
        # As TTD's published commands; that PAMR comes once, at the end, is our reading.
        MaskRules("ttd_ms", scales=(1.0, 0.5, 1.5, 2.0), flip=True, refine="image"),
    )
}


def mask_rules(name: str, changes: dict[str, Any] | None = None) -> MaskRules:
    """A preset by its name; with changed fields it is called ``<name>*``.

    Raises:
        ValueError: no such preset.

    Example:
        >>> mask_rules("tcl", {"threshold": 0.5}).name
        'tcl*'
    """
    if name not in PRESETS:
        raise ValueError(f"there is no protocol {name!r} of masks; there are {', '.join(PRESETS)}.")
    rules = PRESETS[name]
    if not changes:
        return rules
    changes = dict(changes)
    if isinstance(changes.get("pamr"), dict):
        changes["pamr"] = PAMROptions(**changes["pamr"])
    return replace(rules, name=f"{name}*", **changes)


class Segment(Protocol):
    """A module's ``segment`` for given texts."""

    def __call__(self, images: Tensor, refine: Any = None) -> Tensor:
        """(N,3,H,W) -> (N,C,h,w)."""
        ...


def soft_masks(
    trainer: pl.Trainer,
    pl_module: Any,
    image: Tensor,
    texts: list[str],
    are_class_names: bool,
    rules: MaskRules,
) -> Tensor:
    """The masks of texts in one image.

    Args:
        trainer: for its precision.
        pl_module: a module that can ``segment``.
        image: (3,H,W), normalised for the model, without padding.
        texts: C of them.
        are_class_names: see `lightning_modules.capabilities.CanSegment`.
        rules: see there.

    Returns:
        (C,H,W) float32 in [0,1].
    """
    segment = partial(pl_module.segment, texts=texts, are_class_names=are_class_names)
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        return average_masks(segment, image, rules)


def average_masks(segment: Segment, image: Tensor, rules: MaskRules) -> Tensor:
    """`soft_masks` by a function: (3,H,W) -> (C,H,W), the mean over scales and mirror images."""
    size = image.shape[-2:]
    flips = (False, True) if rules.flip else (False,)
    total = torch.zeros(())
    for scale, flip in product(rules.scales, flips):
        view = scaled(image, scale)
        masks = windowed_masks(segment, view.flip(-1) if flip else view, rules)
        masks = masks.flip(-1) if flip else masks
        total = total.to(masks) + resized(masks, size)
    masks = total / (len(rules.scales) * len(flips))
    if rules.refine == "image":
        return pamr(image[None], masks[None], rules.pamr)[0]
    return masks


def windowed_masks(segment: Segment, image: Tensor, rules: MaskRules) -> Tensor:
    """The masks of an image at one scale: (3,H,W) -> (C,h,w), the mean over the windows that see a pixel."""
    refine = partial(pamr, options=rules.pamr) if rules.refine == "window" else None
    height, width = image.shape[-2:]
    if rules.window is None or (height <= rules.window and width <= rules.window):
        return segment(image[None], refine=refine)[0].float()
    windows = list(window_grid((height, width), rules.window, rules.stride))
    sides = (windows[0].height, windows[0].width)
    at_once = max(1, PIXELS_AT_ONCE // (sides[0] * sides[1]))
    total = torch.zeros(())
    for start in range(0, len(windows), at_once):
        some = windows[start : start + at_once]
        masks = segment(torch.stack([window.of(image) for window in some]), refine=refine).float()
        if total.ndim == 0:
            total = masks.new_zeros(masks.shape[1], height, width)
        for window, own in zip(some, masks, strict=True):
            window.of(total).add_(resized(own, sides))
    seen = total.new_zeros(height, width)
    for window in windows:
        window.of(seen).add_(1)
    return total / seen


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Tensor) -> Tensor:
        """(...,H,W) -> (...,height,width), a view."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def window_grid(size: tuple[int, int], side: int, stride: int) -> Iterator[Window]:
    """Windows that cover an image; the last ones of a row or column end with the image.

    Args:
        size: height and width of the image.
        side: of a window; a shorter side of the image is taken whole.
        stride: from window to window.

    Example:
        >>> [(window.top, window.left) for window in window_grid((448, 600), 448, 224)]
        [(0, 0), (0, 152)]
    """
    height, width = size
    for top in window_starts(height, side, stride):
        for left in window_starts(width, side, stride):
            yield Window(top, left, min(side, height), min(side, width))


def window_starts(length: int, side: int, stride: int) -> list[int]:
    """Where windows begin along one side.

    Example:
        >>> window_starts(600, 448, 224), window_starts(300, 448, 224)
        ([0, 152], [0])
    """
    last = max(length - side, 0)
    return [*range(0, last, stride), last]


def scaled(image: Tensor, scale: float) -> Tensor:
    """(3,H,W) at another size, resampled bilinearly, with anti-aliasing where it becomes smaller."""
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=scale < 1)[0]


def resized(masks: Tensor, size: Any) -> Tensor:
    """(C,h,w) -> (C,H,W) bilinearly."""
    if masks.shape[-2:] == tuple(size):
        return masks
    return F.interpolate(masks[None], tuple(size), mode="bilinear", align_corners=False)[0]


def images_without_padding(batch: ImageBatch) -> list[Tensor]:
    """N tensors (3,H,W), views into the batch."""
    if batch.extents is None:
        return list(batch.images)
    extents = batch.extents.tolist()
    return [image[:, :height, :width] for image, (height, width) in zip(batch.images, extents, strict=True)]
