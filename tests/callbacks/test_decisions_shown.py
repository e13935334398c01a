"""What is drawn and what is written is what is scored."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import callbacks.pictures.grounding as pictures
from callbacks.evaluations.grounding import GroundingEvaluation
from callbacks.run.predictions import Predictions
from datamodules.batches import GroundingBatch, Preprocessing
from datamodules.handover import JudgedSet
from metrics.decisions import Decisions
from metrics.grounding import GroundingScore
from metrics.protocols import PRESETS

QUERIES = 60
TRAINER: Any = SimpleNamespace(
    precision_plugin=SimpleNamespace(forward_context=nullcontext), is_global_zero=True
)


class RandomMaps:
    """Grounds each phrase by a random 8 x 8 map of its own."""

    preprocessing = Preprocessing(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self) -> None:
        self.maps = torch.rand(QUERIES, 8, 8, generator=torch.Generator().manual_seed(0))
        self.phrases: list[str] = []

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        self.phrases = phrases
        return self.maps


def random_batch() -> GroundingBatch:
    """Four images, chains of several mentions; every tenth chain has no box."""
    rng = np.random.default_rng(0)
    chain_of_query = torch.from_numpy(np.sort(rng.integers(0, QUERIES // 2, QUERIES)))
    image_of_query = chain_of_query * 4 // (QUERIES // 2)
    low = torch.from_numpy(rng.integers(0, 60, (QUERIES, 2)))
    high = low + torch.from_numpy(rng.integers(10, 90, (QUERIES, 2)))
    box_of_chain = torch.cat((low, high), 1).float()
    boxes = [box_of_chain[[chain] if chain % 10 else []] for chain in chain_of_query.tolist()]
    return GroundingBatch(
        images=torch.zeros(4, 3, 8, 8),
        phrases=[f"phrase {query}" for query in range(QUERIES)],
        image_of_query=image_of_query,
        chain_of_query=chain_of_query,
        boxes=boxes,
        sizes=torch.tensor([[120, 160], [160, 120], [75, 100], [224, 224]]),
        image_keys=["a", "b", "c", "d"],
        keys=[str(query) for query in range(QUERIES)],
    )


class Recording(GroundingScore):
    """Keeps what it has added."""

    decisions: Decisions

    def update(self, *args: Any, **kwargs: Any) -> Decisions:
        self.decisions = super().update(*args, **kwargs)
        return self.decisions


def scored(name: str, batch: GroundingBatch) -> Decisions:
    score = Recording(name)
    GroundingEvaluation([name]).update(TRAINER, RandomMaps(), batch, {(name, "model"): score})
    return score.decisions


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_is_drawn_is_what_is_scored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch()
    module = RandomMaps()
    drawn = []
    monkeypatch.setattr(pictures, "draw", lambda *arguments: drawn.append(arguments))
    gallery = pictures.Pictures(count=QUERIES, per_image=QUERIES, protocol=name)
    source = SimpleNamespace(published_boxes="corners")
    gallery.draw_batch(TRAINER, module, batch, JudgedSet("random", GroundingBatch, source), QUERIES)
    assert module.phrases[0] == f"{PRESETS[name].prompt}phrase 0"

    score = scored(name, batch)
    assert len(drawn) == QUERIES
    judged = 0
    for _, phrase, decision, boxes, _, protocol in drawn:
        query = batch.phrases.index(phrase)
        assert protocol == name
        assert boxes is batch.boxes[query]
        if score.row_of_query[query] < 0:
            assert (decision.hit, decision.iou) == (None, None)
            continue
        judged += 1
        row = int(score.row_of_query[query])
        assert list(decision.point) == score.points[row].flip(0).tolist()
        assert list(decision.box) == score.boxes[row].tolist()
        assert decision.hit == score.hits[row].item()
        assert decision.iou == score.ious[row].item()
    assert judged > QUERIES // 2


@pytest.mark.parametrize("name", list(PRESETS))
def test_what_is_written_is_what_is_scored(name: str, tmp_path: Path) -> None:
    batch = random_batch()
    trainer: Any = SimpleNamespace(**vars(TRAINER), default_root_dir=tmp_path, global_rank=0)
    predictions = Predictions(heatmaps=False, protocol=name)
    predictions.on_predict_start(trainer, None)  # type: ignore[arg-type]
    predictions.on_predict_batch_end(trainer, RandomMaps(), None, batch, 0)
    records = [json.loads(line) for line in predictions.path.read_text().splitlines()]

    score = scored(name, batch)
    assert [record["phrase"] for record in records] == batch.phrases
    assert {record["protocol"] for record in records} == {name}
    for query, record in enumerate(records):
        row = int(score.row_of_query[query])
        if row >= 0:
            assert record["point"] == score.points[row].flip(0).tolist()
            assert record["box"] == score.boxes[row].tolist()
    assert (score.row_of_query >= 0).sum() > QUERIES // 2


def test_mentions_show_the_decision_on_their_chain(tmp_path: Path) -> None:
    batch = random_batch()
    trainer: Any = SimpleNamespace(**vars(TRAINER), default_root_dir=tmp_path, global_rank=0)
    points: dict[str, dict[int, set[tuple[int, ...]]]] = {}
    for name in ("wwbl", "clean"):
        predictions = Predictions(heatmaps=False, protocol=name)
        predictions.on_predict_start(trainer, None)  # type: ignore[arg-type]
        predictions.on_predict_batch_end(trainer, RandomMaps(), None, batch, 0)
        records = [json.loads(line) for line in predictions.path.read_text().splitlines()]
        points[name] = {}
        for chain, record in zip(batch.chain_of_query.tolist(), records, strict=True):
            points[name].setdefault(chain, set()).add(tuple(record["point"]))
    assert {len(points_of_chain) for points_of_chain in points["wwbl"].values()} == {1}
    assert max(len(points_of_chain) for points_of_chain in points["clean"].values()) > 1
