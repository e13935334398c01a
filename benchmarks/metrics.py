"""How many queries a second the grounding score judges, against the same decisions taken one query at a time.

    python -m benchmarks.metrics [--size tiny] [--device cuda]

The data are 16 x 16 maps of phrases in pictures of the sizes that Flickr30k has, 16 phrases a picture. The
baseline does what a straightforward evaluation loop does: for each query, resize its map to its picture, find
the maximum, resize to 224, find the boxes, compare. Both must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch.nn.functional import interpolate

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from metrics.boxes import boxes_from_heatmap, iou, union_box
from metrics.grounding import GroundingScore
from metrics.pointing_game import peak_points, points_in_boxes
from metrics.protocols import PRESETS, Protocol, evaluated_boxes


def fake_batch(queries: int, device: str) -> dict:
    """16 queries a picture, four mentions a chain, two boxes a query."""
    generator = torch.Generator().manual_seed(0)
    image_of_query = torch.arange(queries) // 16
    chain_of_query = torch.arange(queries) // 4
    sizes = torch.tensor([[375, 500], [500, 375], [333, 500], [375, 500]]).repeat(queries // 64 + 1, 1)
    low = torch.randint(0, 150, (queries // 4 + 1, 2, 2), generator=generator)
    chain_boxes = torch.cat((low, low + torch.randint(100, 180, low.shape, generator=generator)), -1).double()
    maps = interpolate(
        torch.rand(queries, 1, 5, 5, generator=generator), size=16, mode="bicubic", align_corners=False
    )[:, 0]
    boxes = [chain_boxes[chain] for chain in chain_of_query.tolist()]
    return {
        "heatmaps": maps.to(device),
        "boxes": boxes,
        "image_of_query": image_of_query,
        "chain_of_query": chain_of_query,
        "sizes": sizes,
    }


def one_at_a_time(batch: dict, rules: Protocol, threshold: float = 0.5) -> tuple[int, int, int]:
    """Pointing hits, box hits and decisions."""
    pointing = boxed = total = 0
    chains = batch["chain_of_query"].tolist()
    groups = [[i] for i in range(len(chains))]
    if rules.query_unit == "chain":
        groups = [[i for i, c in enumerate(chains) if c == chain] for chain in sorted(set(chains))]
    for mentions in groups:
        size = batch["sizes"][batch["image_of_query"][mentions[0]]]
        truth = evaluated_boxes(batch["boxes"][mentions[0]][None], size[None], rules, "corners")
        first = truth[0, 0]
        if rules.min_area and (first[2] - first[0]) * (first[3] - first[1]) <= rules.min_area * size.prod():
            continue
        heat = batch["heatmaps"][mentions].mean(0, keepdim=True).to(getattr(torch, rules.precision))
        square = interpolate(heat[None], size=(224, 224), mode="bilinear", align_corners=False)[0]
        point = peak_points(
            square if rules.point_size else heat, tuple(size.tolist()), rules.point_resize
        ).cpu()
        union = union_box(truth)[:, None]
        pointing += int(
            points_in_boxes(point, union if rules.point_boxes == "union" else truth, rules.inside)
        )
        predicted = union_box(torch.from_numpy(boxes_from_heatmap(square[0], rules.box_rule)[:, :4])) / 224
        boxed += int(iou(predicted, union[0, 0] / size.flip(0).repeat(2)) >= threshold)
        total += 1
    return pointing, boxed, total


def whole_score(batch: dict, rules: Protocol) -> tuple[int, int, int]:
    """Pointing hits, box hits and decisions, by the score."""
    score = GroundingScore(rules)
    score.update(**batch)
    result = score.compute()
    total = result["pointing_game"].n
    hits = [round(result[name].value * total) for name in ("pointing_game", "box_accuracy")]
    return hits[0], hits[1], total


def run(size: Size, device: str = "cpu") -> Report:
    """How often as fast the score is as the loop, for every preset of rules."""
    queries = 32 if size == "tiny" else 512
    batch = fake_batch(queries, device)
    lines = []
    rows = []
    for name, rules in PRESETS.items():
        ways = {
            "score": partial(whole_score, batch, rules),
            "one at a time": partial(one_at_a_time, batch, rules),
        }
        decisions = ways["score"]()
        assert decisions == ways["one at a time"](), f"{name}: the score and the loop decide differently"
        seconds = best_seconds(ways, 1 if size == "tiny" else 3)
        rates = ", ".join(f"{way} {queries / best:.0f} queries/s" for way, best in seconds.items())
        ratio = seconds["one at a time"] / seconds["score"]
        lines.append(f"{name:8} {rates}, ratio {ratio:.2f} ({decisions[2]} decisions)")
        speeds = {way: queries / best for way, best in seconds.items()}
        path = f"decisions on maps, protocol {name}"
        rows.append(rate_row(path, "queries", speeds["score"], speeds["one at a time"], "one at a time"))
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv, device="cpu")


if __name__ == "__main__":
    main()
