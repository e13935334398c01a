import cv2
import numpy as np
import pytest
import torch

from metrics.pointing_game import _resized, peak_points, points_in_boxes


@pytest.mark.parametrize(
    ("resize", "flag", "dtype"),
    [("bicubic", cv2.INTER_CUBIC, torch.float32), ("bilinear", cv2.INTER_LINEAR, torch.float64)],
)
def test_points_equal_opencv_and_a_loop(resize, flag, dtype):
    rng = np.random.default_rng(0)
    maps = rng.random((12, 14, 11))
    maps[:6, rng.integers(0, 14, 6), 10] = 1.5
    for size in ((37, 53), (90, 61), (14, 11)):
        got = peak_points(torch.from_numpy(maps).to(dtype), size, resize)
        for heat, point in zip(maps, got.tolist(), strict=True):
            full = cv2.resize(heat, size[::-1], interpolation=flag)
            best = -np.inf
            where = None
            for y in range(size[0]):
                for x in range(size[1]):
                    if full[y, x] > best:
                        best = full[y, x]
                        where = [y, x]
            assert point == where


def test_peaks_at_the_far_borders_have_opencvs_first_point():
    rng = np.random.default_rng(2)
    for _ in range(150):
        side = rng.integers(5, 30)
        height, width = rng.integers(40, 160, 2)
        # There a pixel may fall on the last centre itself, where OpenCV's own rounding decides.
        if height % side == 0 or width % side == 0:
            continue
        maps = rng.random((4, side, side))
        maps[0, -1, rng.integers(side)] = 1.5
        maps[1, rng.integers(side), -1] = 1.5
        maps[2, -1, -1] = 1.5
        maps[3, 0, 0] = 1.5
        want = [divmod(int(cv2.resize(heat, (int(width), int(height))).argmax()), width) for heat in maps]
        size = (int(height), int(width))
        assert peak_points(torch.from_numpy(maps), size, "bilinear").tolist() == [
            list(map(int, point)) for point in want
        ]
        on_accelerator = _resized(torch.from_numpy(maps), size, "bilinear").flatten(1).argmax(1)
        assert [divmod(int(flat), size[1]) for flat in on_accelerator] == want


@pytest.mark.parametrize(
    ("resize", "dtype", "tolerance"),
    [("bicubic", torch.float32, 4e-6), ("bilinear", torch.float64, 1e-14)],
)
def test_opencv_points_where_torch_does(resize, dtype, tolerance):
    """Both resize as the public codes do; they differ by rounding, and so in points of near ties alone."""
    maps = torch.rand(300, 9, 9, generator=torch.Generator().manual_seed(0), dtype=dtype)
    full = _resized(maps, (75, 100), resize).flatten(1)
    points = peak_points(maps, (75, 100), resize)
    flat = points[:, 0] * 100 + points[:, 1]
    assert (full.amax(1) - full.gather(1, flat[:, None])[:, 0]).max() <= tolerance
    assert (flat == full.argmax(1)).float().mean() > 0.99


def test_bilinear_is_opencvs_inter_linear():
    rng = np.random.default_rng(1)
    for height, width in rng.integers(60, 600, (10, 2)):
        heat = rng.random((224, 224))
        ours = torch.nn.functional.interpolate(
            torch.from_numpy(heat)[None, None],
            size=(int(height), int(width)),
            mode="bilinear",
            align_corners=False,
        )
        assert np.abs(ours[0, 0].numpy() - cv2.resize(heat, (int(width), int(height)))).max() < 1e-6


@pytest.mark.parametrize(
    ("resize", "dtype"),
    [("bicubic", torch.float32), ("bilinear", torch.float64), ("bicubic", torch.bfloat16)],
)
def test_a_point_does_not_depend_on_its_company(resize, dtype):
    maps = torch.rand(23, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    alone = torch.cat([peak_points(one[None], (75, 101), resize) for one in maps])
    assert peak_points(maps, (75, 101), resize).equal(alone)
    assert peak_points(maps.flip(0), (75, 101), resize).flip(0).equal(alone)


def test_zero_map_points_at_the_corner_and_ties_at_the_first():
    assert peak_points(torch.zeros(1, 7, 7), (30, 40)).tolist() == [[0, 0]]
    tie = torch.zeros(1, 8, 8)
    tie[0, 3, 6] = tie[0, 5, 1] = 1
    assert peak_points(tie, (8, 8), "bilinear").tolist() == [[3, 6]]


@pytest.mark.parametrize(
    ("inside", "low", "high"),
    [("strict", False, False), ("inclusive", True, True), ("half_open", True, False)],
    ids=["strict", "inclusive", "half_open"],
)
def test_borders(inside, low, high):
    box = torch.tensor([[[10.0, 20, 30, 40], [torch.nan] * 4]])
    for point, want in (
        ((25, 10), low),
        ((20, 15), low),
        ((25, 30), high),
        ((40, 15), high),
        ((25, 15), True),
        ((15, 25), False),
    ):
        assert points_in_boxes(torch.tensor([point]), box, inside).item() is want


def test_any_box_counts_but_not_the_side_of_one_with_the_side_of_another():
    boxes = torch.tensor([[[0.0, 0, 5, 5], [10, 10, 15, 15]]])
    assert points_in_boxes(torch.tensor([[12, 12], [2, 2], [2, 12]]), boxes.expand(3, -1, -1)).tolist() == [
        True,
        True,
        False,
    ]
