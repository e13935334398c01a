"""How many queries a second the grounding score judges, against the same decisions taken one query at a time.

    python -m benchmarks.metrics [--queries 512] [--device cuda]

The data are 16 x 16 maps of phrases in pictures of the sizes that Flickr30k has, 16 phrases a picture. The
baseline does what a straightforward evaluation loop does: for each query, resize its map to its picture, find
the maximum, resize to 224, find the boxes, compare. Both must agree.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn.functional import interpolate
from tqdm import tqdm  # type: ignore[import-untyped]

from metrics.boxes import boxes_from_heatmap, iou, union_box
from metrics.grounding import GroundingScore
from metrics.pointing_game import peak_points, points_in_boxes
from metrics.protocols import PRESETS, Protocol, evaluated_boxes


def fake_batch(queries: int, device: str) -> dict:
    """16 queries a picture, four mentions a chain, two boxes a query."""
    generator = torch.Generator().manual_seed(0)
    image_of_query, chain_of_query = torch.arange(queries) // 16, torch.arange(queries) // 4
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    batch = fake_batch(arguments.queries, arguments.device)
    lines = []
    for name, rules in tqdm(PRESETS.items()):
        seconds = {"score": float("inf"), "loop": float("inf")}
        for _ in range(arguments.repeats):
            score = GroundingScore(rules)
            start = time.perf_counter()
            score.update(**batch)
            seconds["score"] = min(seconds["score"], time.perf_counter() - start)
            start = time.perf_counter()
            loop = one_at_a_time(batch, rules)
            seconds["loop"] = min(seconds["loop"], time.perf_counter() - start)
        result = score.compute()
        decided = result["pointing_game"].n
        assert (
            round(result["pointing_game"].value * decided),
            round(result["box_accuracy"].value * decided),
            decided,
        ) == loop
        rates = {way: arguments.queries / value for way, value in seconds.items()}
        ratio = rates["score"] / rates["loop"]
        lines.append(
            f"{name:8} {rates['score']:8.0f} queries/s, one at a time {rates['loop']:8.0f} queries/s, ratio {ratio:.2f} ({decided} decisions)"
        )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
