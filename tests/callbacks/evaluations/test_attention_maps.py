"""An oracle is judged as an oracle, through a trainer, on pictures of digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks.evaluations.attention_maps import MapEvaluation
from datamodules.batches import GroundingBatch, Preprocessing
from datamodules.sets.multi_mnist import WORDS, Drawing, MultiMNIST
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from tests.callbacks.judging import judge


class Oracle(WeakgroundModule):
    """Is told the boxes; of a "nine" it shows half, and a "zero" that is not there it believes to see."""

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.words = WORDS

    def on_test_batch_start(self, batch: GroundingBatch, *args: Any) -> None:
        self.batch = batch

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        maps = torch.zeros(len(phrases), *images.shape[2:])
        for heat, phrase, boxes in zip(maps, phrases, self.batch.boxes, strict=True):
            for x0, y0, x1, y1 in boxes.int().tolist():
                heat[y0 : (y0 + y1) // 2 if phrase == "nine" else y1, x0:x1] = 0.9
            if phrase == "zero" and not len(boxes):
                heat[:5, :5] = 1.0
        return maps


@pytest.mark.filterwarnings("ignore")
def test_an_oracle_is_right_where_it_should_be(tmp_path: Path) -> None:
    drawing = Drawing(digits=(1, 3), overlap=0.0, scale=(0.6, 0.7))
    data = MultiMNIST(
        drawing=drawing, test_size=30, grids=(3,), absent=2, keep_size=True, eval_batch_size=8, num_workers=0
    )
    values = judge(tmp_path, data, Oracle(), MapEvaluation(thresholds=(0.5, 0.95)))
    source = data.evaluation_source("test")
    assert source is not None
    queries = [query for index in range(30) for query in source.queries(index)]
    instances = [query.phrase for query in queries for _ in query.boxes]
    absent = [query.phrase for query in queries if not len(query.boxes)]
    nines = instances.count("nine") / len(instances)
    assert 0 < nines < 0.5
    # Touching digits of one class are one component.
    assert values["test/multi_mnist/map/accuracy_30"] >= 0.97
    assert values["test/multi_mnist/map/average_iou"] == pytest.approx(1 - nines / 2, abs=0.04)
    assert values["test/multi_mnist/map/blank_absent"] == pytest.approx(
        1 - absent.count("zero") / len(absent)
    )
    assert values["test/multi_mnist/largest/average_iou"] == pytest.approx(
        values["test/multi_mnist/map/average_iou"], abs=0.02
    )
    assert values["test/grid_3x3/map/map_30"] > 0.95
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert content["protocols"]["map@0.95"] == {
        "name": "map@0.95",
        "threshold": 0.95,
        "blank": 0.1,
        "min_area": 4,
        "box": "whole",
    }
    counts = {
        (result["dataset"], result["metric"]): result["n"]
        for result in content["results"]
        if (result["method"], result["protocol"]) == ("model", "map")
    }
    assert counts["multi_mnist", "average_iou"] == len(instances)
    assert counts["multi_mnist", "blank_absent"] == len(absent) == 60
    assert counts["grid_3x3", "average_iou"] == 270
    for method in ("random", "centre"):
        (average_iou,) = [
            result["value"]
            for result in content["results"]
            if (result["dataset"], result["protocol"], result["method"], result["metric"])
            == ("multi_mnist", "map", method, "average_iou")
        ]
        assert average_iou < 0.3


def test_a_module_that_cannot_ground_is_refused() -> None:
    with pytest.raises(
        ModelError, match="MapEvaluation needs a module that can `ground`, and WeakgroundModule cannot"
    ):
        MapEvaluation().setup(None, WeakgroundModule(Optimisation(), None), "test")  # type: ignore[arg-type]


@pytest.mark.parametrize("thresholds", [(), (1.0,), (0.5, -0.1)])
def test_thresholds_are_shares(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="thresholds are shares of the largest value"):
        MapEvaluation(thresholds=thresholds)
