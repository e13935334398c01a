"""Masks of what phrases refer to, judged through a trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.evaluations.referring import ReferringEvaluation
from datamodules.batches import Preprocessing
from datamodules.kinds.grounding import GroundingSource, Query
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation
from metrics.prompters import GrabCut, MapThreshold
from tests.callbacks.judging import Data, judge

SIDE = 48


class Discs(GroundingSource):
    """A white disc on noise, asked for with its mask."""

    with_masks = True

    def __len__(self) -> int:
        return 3

    def key(self, index: int) -> str:
        return f"{index}.png"

    def region(self, index: int) -> np.ndarray:
        rows, columns = np.mgrid[:SIDE, :SIDE]
        return (rows - 16 - 4 * index) ** 2 + (columns - 24) ** 2 < 36

    def image(self, index: int) -> np.ndarray:
        image = np.random.default_rng(index).integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
        image[self.region(index)] = 250
        return image

    def queries(self, index: int) -> list[Query]:
        ys, xs = np.nonzero(self.region(index))
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        mask = self.region(index) if self.with_masks else None
        return [Query("the disc", box, str(index), str(index), mask)]


class Bright(WeakgroundModule):
    """Points at the brightest of a few places."""

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        maps = torch.nn.functional.avg_pool2d(images.mean(dim=1), 6)
        maps = maps - maps.amin(dim=(1, 2), keepdim=True)
        return (maps / maps.amax(dim=(1, 2), keepdim=True))[image_of_query]


@pytest.mark.filterwarnings("ignore")
def test_a_segmenter_sharpens_what_the_map_points_at(tmp_path: Path) -> None:
    evaluation = ReferringEvaluation([GrabCut(), MapThreshold(0.3)])
    logged = judge(tmp_path, Data(discs=Discs()), Bright(), evaluation)
    assert logged["test/discs/grabcut/oiou"] > 0.95 > logged["test/discs/threshold/oiou"] > 0.4
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert content["protocols"]["grabcut"]["reach"] == 0.15
    methods: dict[Any, set[str]] = {}
    for result in content["results"]:
        methods.setdefault(result["protocol"], set()).add(result["method"])
    assert methods == {name: {"model", "centre", "random"} for name in ("grabcut", "threshold")}


@pytest.mark.filterwarnings("ignore")
def test_sets_without_masks_are_passed_over(tmp_path: Path) -> None:
    source = Discs()
    source.with_masks = False
    logged = judge(tmp_path, Data(discs=source), Bright(), ReferringEvaluation())
    assert np.isnan(logged["test/discs/grabcut/oiou"])
