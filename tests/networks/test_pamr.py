from __future__ import annotations

import torch
from torch.testing import assert_close

from networks.pamr import PAMROptions, neighbour_weights, pamr
from tests.networks.ttd_parity import close, numbers

REFERENCE = numbers("pamr")


def test_equal_to_the_reference_code() -> None:
    image = REFERENCE["image"]
    full = torch.nn.functional.interpolate(
        REFERENCE["mask"], image.shape[-2:], mode="bilinear", align_corners=True
    )
    close(pamr(image, REFERENCE["mask"]), REFERENCE["out_tcl_mask_res"])
    close(pamr(image, full), REFERENCE["out_full_res"])
    close(pamr(image, full, PAMROptions(1, (1, 2))), REFERENCE["out_iter1_dil12"])


def test_images_do_not_mix() -> None:
    images = torch.rand(3, 3, 20, 30)
    masks = torch.rand(3, 2, 9, 14)
    together = pamr(images, masks)
    for number in range(3):
        assert_close(pamr(images[number : number + 1], masks[number : number + 1])[0], together[number])


def test_weights_are_shares_and_an_even_image_averages() -> None:
    weights = neighbour_weights(torch.ones(3, 5, 6), (1, 2))
    assert_close(weights, torch.full((5, 6, 16), 1 / 16))
    assert_close(neighbour_weights(torch.rand(3, 5, 6), (1, 4)).sum(-1), torch.ones(5, 6))


def test_masks_within_bounds_stay_within() -> None:
    refined = pamr(torch.rand(1, 3, 16, 16), torch.rand(1, 4, 16, 16))
    assert refined.min() >= 0
    assert refined.max() <= 1
