from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from callbacks.soft_masks import (
    MaskRules,
    average_masks,
    images_without_padding,
    mask_rules,
    scaled,
    window_grid,
    windowed_masks,
)
from datamodules.batches import ImageBatch
from networks.pamr import PAMROptions, pamr

IMAGE = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))


def channels(images: Tensor, refine: Any = None) -> Tensor:
    """Each pixel's own channels: windows and mirror images must not change them."""
    return images if refine is None else refine(images, images)


class Counting:
    """Halves the grid and counts the calls and images."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor, refine: Any = None) -> Tensor:
        self.seen.append(tuple(images.shape))
        return torch.nn.functional.avg_pool2d(images, 2)


def test_windows_cover_the_image_and_are_averaged() -> None:
    rules = MaskRules("windows", window=16, stride=8)
    assert_close(windowed_masks(channels, IMAGE, rules), IMAGE)
    covered = torch.zeros(40, 56)
    for window in window_grid((40, 56), 16, 8):
        window.of(covered).add_(1)
    assert covered.min() >= 1
    counting = Counting()
    windowed_masks(counting, IMAGE, rules)
    assert counting.seen == [(4 * 6, 3, 16, 16)]
    low = Counting()
    windowed_masks(low, IMAGE[:, :10], rules)
    assert low.seen == [(6, 3, 10, 16)]
    whole = Counting()
    assert windowed_masks(whole, IMAGE, MaskRules("whole", window=64)).shape == (3, 20, 28)
    assert whole.seen == [(1, 3, 40, 56)]


def test_windows_that_do_not_fit_end_with_the_image() -> None:
    tops = {window.top for window in window_grid((40, 56), 16, 12)}
    lefts = {window.left for window in window_grid((40, 56), 16, 12)}
    assert (tops, lefts) == ({0, 12, 24}, {0, 12, 24, 36, 40})


def test_mirror_images_are_mirrored_back() -> None:
    assert_close(average_masks(channels, IMAGE, MaskRules("flip", flip=True)), IMAGE)

    def left_half(images: Tensor, refine: Any = None) -> Tensor:
        half = torch.zeros(1, 1, *images.shape[-2:])
        half[..., :28] = 1
        return half

    assert_close(average_masks(left_half, IMAGE, MaskRules("flip", flip=True)), torch.full((1, 40, 56), 0.5))


def test_scales_are_averaged_at_the_size_of_the_image() -> None:
    counting = Counting()
    masks = average_masks(counting, IMAGE, MaskRules("scales", scales=(1.0, 0.5, 1.5)))
    assert counting.seen == [(1, 3, 40, 56), (1, 3, 20, 28), (1, 3, 60, 84)]
    assert masks.shape == (3, 40, 56)
    assert_close(masks.mean(), IMAGE.mean(), rtol=1e-2, atol=0)
    assert scaled(IMAGE, 1.0) is IMAGE


def test_refinement_comes_in_the_window_or_at_the_end() -> None:
    options = PAMROptions(2, (1, 2))
    expected = pamr(IMAGE[None], IMAGE[None], options)[0]
    for place in ("window", "image"):
        rules = MaskRules("refined", refine=place, pamr=options)  # type: ignore[arg-type]
        assert_close(average_masks(channels, IMAGE, rules), expected)


def test_presets_and_changes() -> None:
    assert mask_rules("tcl").window == 448
    changed = mask_rules("ttd_ms", {"scales": (1.0,), "pamr": {"iterations": 1}})
    assert (changed.name, changed.flip, changed.pamr.iterations) == ("ttd_ms*", True, 1)
    with pytest.raises(ValueError, match="there are plain, tcl, ttd_ms"):
        mask_rules("mmseg")


def test_padding_is_cut() -> None:
    images = torch.rand(2, 3, 8, 9)
    sizes = [tuple(image.shape) for image in images_without_padding(ImageBatch(images))]
    assert sizes == [(3, 8, 9)] * 2
    batch = ImageBatch(images, extents=torch.tensor([[8, 5], [3, 9]]))
    assert [tuple(image.shape) for image in images_without_padding(batch)] == [(3, 8, 5), (3, 3, 9)]
