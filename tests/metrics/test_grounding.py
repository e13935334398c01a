"""The whole score against the reference code's own decisions, and against loops over SciPy and OpenCV."""

import json
import math
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from metrics.boxes import boxes_from_heatmap
from metrics.grounding import GroundingScore
from metrics.protocols import PRESETS, protocol

PARITY = np.load(Path(__file__).parents[1] / "data" / "gpp" / "decision_cases.npz")
CASES = range(len(PARITY["names"]))
REFERENCE = replace(PRESETS["wwbl"], point_size=None, box_size=None, min_area=0.0)


def _case(index):
    heat = torch.from_numpy(PARITY[f"heatmap_{index:02d}"].astype(np.float64))[None]
    boxes = torch.from_numpy(PARITY["gt_boxes"][index][: PARITY["n_gt"][index]]).double()
    one = torch.zeros(1, dtype=torch.long)
    return heat, boxes, one, torch.from_numpy(PARITY["size_hw"][index])[None]


@pytest.mark.parametrize("index", CASES, ids=PARITY["names"].tolist())
def test_decisions_of_the_reference_code(index):
    heat, boxes, one, size = _case(index)
    exclusive = boxes + torch.tensor([0, 0, 1, 1])
    for point_boxes, suffix in (("any", ""), ("union", "_unionGT")):
        rules = replace(REFERENCE, point_boxes=point_boxes)
        as_published = GroundingScore(rules, "corners").update(heat, [exclusive], one, one, size)
        as_given = GroundingScore(rules, "xywh").update(heat, [boxes], one, one, size)
        for got in (as_published, as_given):
            assert got.points.tolist() == [PARITY["argmax_yx"][index].tolist()]
            assert got.hits.item() == PARITY[f"hit_correct{suffix}"][index]
            assert (got.ious.item() >= 0.5) == PARITY[f"bbox_correct{suffix}"][index]
            height, width = size[0].tolist()
            side = heat.shape[-1]
            fraction = got.boxes[0] / torch.tensor([width, height, width, height])
            assert (fraction * side).tolist() == pytest.approx(
                PARITY["pred_union_box"][index].tolist(), abs=1e-9
            )


def test_parity_counts():
    score = GroundingScore(REFERENCE, "xywh")
    for index in CASES:
        heat, boxes, one, size = _case(index)
        score.update(heat, [boxes], one, one, size)
    result = score.compute()
    assert result["box_accuracy"].value * 52 == pytest.approx(28)
    assert result["pointing_game"].value * 52 == pytest.approx(45)


def fake_batch(seed, images=5, queries=24, grid=16):
    """Integer boxes inside and across the border, chains of several mentions with the same boxes, some images
    of equal size.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([[60, 80], [80, 60], [75, 75]])[rng.integers(0, 3, images)]
    chain_image = np.sort(rng.integers(0, images, queries // 2))
    chain = np.sort(rng.integers(0, len(chain_image), queries))
    chain_boxes = []
    for _ in chain_image:
        low = rng.integers(-5, 45, (rng.integers(1, 4), 2))
        chain_boxes.append(np.concatenate((low, low + rng.integers(3, 50, low.shape)), 1))
    coarse = torch.from_numpy(rng.random((queries, 5, 5)))[:, None]
    maps = torch.nn.functional.interpolate(coarse, size=(grid, grid), mode="bicubic", align_corners=False)[
        :, 0
    ].float()
    return {
        "heatmaps": maps,
        "boxes": [torch.from_numpy(chain_boxes[c]).float() for c in chain],
        "image_of_query": torch.from_numpy(chain_image[chain]),
        "chain_of_query": torch.from_numpy(chain) + 100,
        "sizes": torch.from_numpy(sizes),
        "keys": [f"{seed}-{i}" for i in range(queries)],
    }


def slow_decisions(batch, name):
    """(point, hit, IoU) of every decision under a preset, one query and one box after the other, with
    Flickr30k Entities' boxes.
    """
    maps = batch["heatmaps"].numpy()
    chains = batch["chain_of_query"].tolist()
    decisions = []
    units = (
        [[i for i, c in enumerate(chains) if c == chain] for chain in sorted(set(chains))]
        if name == "wwbl"
        else [[i] for i in range(len(maps))]
    )
    for mentions in units:
        height, width = batch["sizes"][batch["image_of_query"][mentions[0]]].tolist()
        boxes = [list(map(float, box)) for box in batch["boxes"][mentions[0]].tolist()]
        if name == "clean":
            boxes = [[max(a, 0), max(b, 0), min(c, width), min(d, height)] for a, b, c, d in boxes]
        else:
            boxes = [[a, b, c - 1, d - 1] for a, b, c, d in boxes]
        union = [
            min(b[0] for b in boxes),
            min(b[1] for b in boxes),
            max(b[2] for b in boxes),
            max(b[3] for b in boxes),
        ]
        if (
            name == "wwbl"
            and not (boxes[0][2] - boxes[0][0]) * (boxes[0][3] - boxes[0][1]) > 0.05 * width * height
        ):
            continue
        heat = sum(maps[i] for i in mentions) / np.float32(len(mentions))
        square = cv2.resize(heat.astype(np.float64), (224, 224))
        if name == "wwbl":
            full = cv2.resize(square, (width, height))
        else:
            full = cv2.resize(heat.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC)
        y, x = np.unravel_index(full.argmax(), full.shape)
        hit = False
        for x0, y0, x1, y1 in [union] if name == "wwbl" else boxes:
            if name == "selfeq":
                hit = hit or (x0 < x < x1 and y0 < y < y1)
            elif name == "wwbl":
                hit = hit or (x0 <= x <= x1 and y0 <= y <= y1)
            else:
                hit = hit or (x0 <= x < x1 and y0 <= y < y1)
        found = boxes_from_heatmap(square, "clean" if name == "clean" else "reference") / 224
        p = [
            found[:, 0].min() * width,
            found[:, 1].min() * height,
            found[:, 2].max() * width,
            found[:, 3].max() * height,
        ]
        shared = max(0, min(p[2], union[2]) - max(p[0], union[0])) * max(
            0, min(p[3], union[3]) - max(p[1], union[1])
        )
        overlap = shared / (
            (p[2] - p[0]) * (p[3] - p[1]) + (union[2] - union[0]) * (union[3] - union[1]) - shared
        )
        decisions.append(([int(y), int(x)], hit, overlap))
    return decisions


@pytest.mark.parametrize("name", list(PRESETS))
def test_against_plain_loops(name):
    score = GroundingScore(name)
    hits = []
    ious = []
    for seed in range(4):
        batch = fake_batch(seed)
        want = slow_decisions(batch, name)
        got = score.update(**batch)
        assert got.points.tolist() == [point for point, _, _ in want]
        assert got.hits.tolist() == [hit for _, hit, _ in want]
        assert got.ious.tolist() == pytest.approx([overlap for _, _, overlap in want], abs=1e-5)
        hits += got.hits.tolist()
        ious += got.ious.tolist()
    assert 0 < sum(hits) < len(hits)
    result = score.compute()
    assert result["pointing_game"].value == sum(hits) / len(hits)
    assert result["mean_iou"].value == pytest.approx(np.mean(ious), abs=1e-9)
    assert result["box_accuracy"].n == len(hits)


def test_chain_is_one_decision_from_the_average():
    maps = torch.zeros(3, 8, 8)
    maps[0, 1, 1] = 1.0
    maps[1, 6, 6] = 0.6
    maps[2, 6, 6] = 0.6
    batch = {
        "boxes": [torch.tensor([[40.0, 40, 80, 80]])] * 3,
        "image_of_query": torch.zeros(3).long(),
        "sizes": torch.tensor([[80, 80]]),
    }
    chained = GroundingScore("wwbl").update(maps, chain_of_query=torch.tensor([7, 7, 7]), **batch)
    assert chained.queries.tolist() == [0]
    assert chained.hits.tolist() == [True]
    assert GroundingScore("wwbl").update(
        maps, chain_of_query=torch.tensor([7, 8, 7]), **batch
    ).hits.tolist() == [False, True]
    assert GroundingScore("selfeq").update(
        maps, chain_of_query=torch.tensor([7, 7, 7]), **batch
    ).hits.tolist() == [False, True, True]


@pytest.mark.parametrize(("rule", "asked"), [("first", [1]), ("union", [0, 1]), ("each", [])])
def test_area_rules(rule, asked):
    boxes = [
        torch.tensor([[0.0, 0, 5, 5], [40, 40, 60, 60]]),
        torch.tensor([[40.0, 40, 60, 60], [0, 0, 5, 5]]),
    ]
    rules = protocol("clean", min_area=0.03, area_rule=rule)
    zero = torch.zeros(2).long()
    got = GroundingScore(rules).update(
        torch.rand(2, 8, 8), boxes, zero, torch.arange(2), torch.tensor([[100, 100]])
    )
    assert got.queries.tolist() == asked


def test_exactly_the_least_area_is_not_asked():
    rules = protocol("clean", min_area=0.05)
    one = torch.zeros(1).long()
    for side, count in ((50.0, 0), (51.0, 1)):
        got = GroundingScore(rules).update(
            torch.rand(1, 8, 8), [torch.tensor([[0.0, 0, side, 10]])], one, one, torch.tensor([[100, 100]])
        )
        assert len(got.queries) == count


def test_gt_any_takes_the_best_box():
    heat = torch.zeros(1, 224, 224)
    heat[0, :112, :112] = 1
    boxes = [torch.tensor([[0.0, 0, 50, 50], [80, 80, 100, 100]])]
    one = torch.zeros(1).long()
    for gt_box, overlap in (("any", 1.0), ("union", 0.25)):
        got = GroundingScore(protocol("clean", gt_box=gt_box)).update(
            heat, boxes, one, one, torch.tensor([[100, 100]])
        )
        assert got.ious.item() == pytest.approx(overlap)


def test_queries_without_boxes_and_empty_batches():
    for name in PRESETS:
        score = GroundingScore(name)
        empty = torch.zeros(0, dtype=torch.long)
        assert (
            len(score.update(torch.zeros(0, 16, 16), [], empty, empty, torch.zeros(0, 2).long()).queries) == 0
        )
        one = torch.zeros(1).long()
        assert (
            len(
                score.update(
                    torch.rand(1, 16, 16), [torch.zeros(0, 4)], one, one, torch.tensor([[50, 50]])
                ).queries
            )
            == 0
        )
        for estimate in score.compute().values():
            assert estimate.n == 0
            assert math.isnan(estimate.value)


def test_constant_map_has_no_box_under_clean():
    one = torch.zeros(1).long()
    got = GroundingScore("clean").update(
        torch.full((1, 16, 16), 0.5), [torch.tensor([[0.0, 0, 50, 50]])], one, one, torch.tensor([[50, 50]])
    )
    assert got.boxes.isnan().all()
    assert got.ious.item() == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_input_is_named(value):
    batch = fake_batch(0)
    batch["heatmaps"][3, 2, 1] = value
    with pytest.raises(ValueError, match="heat map of query '0-3' holds NaN or infinite values"):
        GroundingScore().update(**batch)
    batch = fake_batch(0)
    batch["boxes"][5] = torch.tensor([[9.0, 0, 3, 4]])
    with pytest.raises(ValueError, match=r"box \[9.0, 0.0, 3.0, 4.0\] of query '0-5'"):
        GroundingScore().update(**batch)
    with pytest.raises(ValueError, match=r"not \(Q, h, w\) for Q = 24"):
        GroundingScore().update(**{**fake_batch(0), "heatmaps": torch.rand(23, 16, 16)})


def test_pickles_resets_and_holds_long_sums():
    score = GroundingScore("wwbl")
    score.update(**fake_batch(0))
    before = score.compute()
    again = pickle.loads(pickle.dumps(score))
    assert again.compute() == before
    states = [
        getattr(metric, name)
        for metric in (score.pointing_game, score.box_accuracy, score.mean_iou)
        for name in metric._defaults
    ]
    assert len(states) == 7
    assert all(state.dtype == torch.long for state in states)
    assert score.state_dict() == {}
    again.reset()
    again.update(**fake_batch(0))
    assert again.compute() == before


# Batches of the two ranks: uneven shares, and a rank that has nothing.
SHARES = (((0,), (1, 2, 3, 4)), ((0, 1, 2), ()))


def _results(seeds):
    scores = {name: GroundingScore(name) for name in PRESETS}
    for seed in seeds:
        for score in scores.values():
            score.update(**fake_batch(seed))
    return {
        name: {key: asdict(value) for key, value in score.compute().items()} for name, score in scores.items()
    }


def _rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    Path(folder, f"{rank}.json").write_text(json.dumps([_results(shares[rank]) for shares in SHARES]))
    dist.destroy_process_group()


def test_two_processes_give_the_digits_of_one(tmp_path):
    mp.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method="fork")  # nothing is imported again
    want = [_results(sorted(shares[0] + shares[1], reverse=True)) for shares in SHARES]
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == want
