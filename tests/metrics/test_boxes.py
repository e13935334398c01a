from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
import torchvision

from metrics.boxes import (
    area,
    best_iou,
    boxes_from_heatmap,
    boxes_from_heatmaps,
    check_boxes,
    cubehelix_grey,
    iou,
    pad_boxes,
    union_box,
)
from tests.parity import assert_near_exact

PARITY = np.load(Path(__file__).parents[1] / "data" / "gpp" / "bbox_cases.npz")
NAMES = PARITY["names"].tolist()
HEATMAPS = PARITY["heatmaps"]
SPLITS = np.split(PARITY["boxes"], PARITY["n_boxes"].cumsum()[:-1])


@pytest.mark.parametrize("case", range(len(NAMES)), ids=NAMES)
def test_reference_rule_equals_generate_bbox(case):
    want = SPLITS[case]
    if NAMES[case] in ("zeros", "flat_const"):
        want = want[:1]
    got = boxes_from_heatmap(HEATMAPS[case])
    assert got.shape == want.shape
    assert (got == want).all()
    assert (union_box(torch.from_numpy(got[:, :4])).numpy() == PARITY["union_box"][case]).all()


def test_maps_of_a_batch_do_not_touch_each_other():
    together = boxes_from_heatmaps(torch.from_numpy(HEATMAPS))
    assert all(np.array_equal(together[i], boxes_from_heatmap(HEATMAPS[i])) for i in range(len(NAMES)))


def test_cubehelix_grey_is_the_reference_table():
    assert cubehelix_grey().tolist() == PARITY["cubehelix_grey"].tolist()


@pytest.mark.parametrize(
    "name",
    ["two_equal", "ring_with_hole", "diag_touching_rects", "three_components", "touch_corner", "gradient_x"],
)
def test_clean_rule_finds_scipys_components(name):
    heat = HEATMAPS[NAMES.index(name)].astype(np.float64)
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    labels, _ = scipy.ndimage.label(heat >= 0.5, structure=np.ones((3, 3)))
    want = sorted((x.start, y.start, x.stop, y.stop) for y, x in scipy.ndimage.find_objects(labels))
    got = boxes_from_heatmap(heat, "clean", nms_iou=1.0, drop=0.0)
    assert sorted(map(tuple, got[:, :4].tolist())) == want
    for x0, y0, x1, y1, confidence in got:
        patch = heat[int(y0) : int(y1), int(x0) : int(x1)]
        assert confidence == pytest.approx(np.where(patch >= 0.5, patch, 0).mean(), abs=1e-12)


def test_clean_rule_suppresses_true_corners_and_drops_the_faint():
    heat = np.zeros((40, 40))
    heat[2:12, 2:12] = 1.0
    heat[2:12, 14:16] = 0.9  # overlaps nothing, kept
    heat[20:38, 20] = heat[37, 20:38] = 0.6  # an L: its rectangle is nearly empty, dropped
    kept = boxes_from_heatmap(heat, "clean")
    assert kept[:, :4].tolist() == [[2, 2, 12, 12], [14, 2, 16, 12]]
    heat[22:34, 22:34] = 1.0  # within the L's rectangle: suppresses it
    assert [22, 22, 34, 34] in boxes_from_heatmap(heat, "clean", drop=0.0)[:, :4].tolist()
    assert [20, 20, 38, 38] not in boxes_from_heatmap(heat, "clean", drop=0.0)[:, :4].tolist()
    assert [20, 20, 38, 38] in boxes_from_heatmap(heat, "clean", drop=0.0, nms_iou=1.0)[:, :4].tolist()


@pytest.mark.parametrize(("offset", "boxes"), [(2, 1), (100, 2)])
def test_reference_rule_takes_width_and_height_for_corners(offset, boxes):
    # A ring's outer and inner contour: as corners, (2, 2, 70, 70) covers (9, 9, 56, 56); (100, 100, 70, 70)
    # is inside out and covers nothing.
    heat = np.zeros((200, 200))
    heat[offset : offset + 70, offset : offset + 70] = 1.0
    heat[offset + 8 : offset + 62, offset + 8 : offset + 62] = 0.0
    assert len(boxes_from_heatmap(heat, drop=0.0)) == boxes
    assert len(boxes_from_heatmap(heat, "clean", drop=0.0)) == 1


def test_reference_rule_counts_holes():
    heat = np.zeros((80, 80))
    heat[2:22, 2:62] = heat[26:36, 2:62] = 1.0
    heat[4:6, 4:6] = 0.0
    assert len(boxes_from_heatmap(heat, nms_iou=1.0, drop=0.0)) == 3
    assert len(boxes_from_heatmap(heat, "clean", nms_iou=1.0, drop=0.0)) == 2


def test_constant_map():
    assert boxes_from_heatmap(np.full((8, 8), 0.7)).tolist() == [[0, 0, 1, 1, 0]]
    assert boxes_from_heatmap(np.full((8, 8), 0.7), "clean").shape == (0, 5)


def test_box_algebra():
    a = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2, 2], [5, 5, 5, 5], [torch.nan] * 4])
    b = torch.tensor([[2.0, 2, 6, 6], [0, 0, 2, 2], [5, 5, 5, 5], [0, 0, 1, 1]])
    assert iou(a, b).tolist() == pytest.approx([4 / 28, 1, 0, 0])
    assert area(torch.tensor([3.0, 3, 2, 2])) == 0
    generator = torch.Generator().manual_seed(0)
    pairs = torch.rand(2, 50, 4, generator=generator, dtype=torch.float64)
    pairs = torch.cat((pairs[..., :2], pairs[..., :2] + pairs[..., 2:]), -1)
    assert_near_exact(iou(*pairs), torchvision.ops.box_iou(*pairs).diagonal())
    padded = pad_boxes([a[:2], b[:1], a[:0]])
    assert padded.shape == (3, 2, 4)
    assert union_box(padded)[:2].tolist() == [[0, 0, 4, 4], [2, 2, 6, 6]]
    assert union_box(padded)[2].isnan().all()
    assert pad_boxes([]).shape == (0, 1, 4)


def test_best_of_the_targets_and_none():
    targets = torch.tensor([[[0.0, 0, 2, 2], [0, 0, 4, 2]], [[0, 0, 2, 2], [torch.nan] * 4]])
    predicted = torch.tensor([[0.0, 0, 4, 2], [torch.nan] * 4])
    assert best_iou(predicted, targets).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [[4.0, 0, 2, 2], [0, 3, 2, 2], [0, 0, torch.nan, 2], [0, 0, torch.inf, 2]])
def test_bad_box_is_named(bad):
    boxes = [torch.tensor([[-3.0, 0, 2, 2]]), torch.zeros(0, 4), torch.tensor([[0.0, 0, 1, 1], bad])]
    with pytest.raises(ValueError, match="of query 'third' is not"):
        check_boxes(boxes, ["first", "second", "third"])
    check_boxes(boxes[:2])
    with pytest.raises(ValueError, match=r"query 0 have shape \(4,\)"):
        check_boxes([torch.zeros(4)])
