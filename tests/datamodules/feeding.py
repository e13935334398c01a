"""A trainer reduced to what a datamodule asks of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from datamodules.batches import ImageTextBatch, Phrase, Preprocessing
from datamodules.errors import DataError
from datamodules.handover import Needs
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query

PLAIN = Preprocessing(image_size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation="bilinear")


def attach(
    datamodule: Any,
    folder: Path,
    train_batch: type = ImageTextBatch,
    rank: int = 0,
    world_size: int = 1,
    stage: str = "test",
    preprocessing: Preprocessing = PLAIN,
) -> Any:
    """The datamodule as a trainer of that rank would have it, without its ``setup``."""
    datamodule.serve(Needs(train_batch, preprocessing, "Model"))
    progress = SimpleNamespace(current=SimpleNamespace(processed=0), is_last_batch=False)
    datamodule.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(ready=0)),
            epoch_loop=SimpleNamespace(batch_progress=progress),
        ),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        training=stage == "fit",
        testing=stage == "test",
        predicting=stage == "predict",
        state=SimpleNamespace(fn=stage),
        default_root_dir=str(folder),
    )
    return datamodule


def batches(datamodule: Any, loader: Any, dataloader_idx: int = 0) -> list[Any]:
    """All batches of a loader, as a module gets them."""
    return [datamodule.on_after_batch_transfer(batch, dataloader_idx) for batch in loader]


class ListSource(CaptionSource, GroundingSource):
    """Images of one grey each (the index) with captions, phrases and queries; some are unreadable."""

    def __init__(
        self,
        captions: list[list[str]],
        phrases: list[list[Phrase]] | None = None,
        unreadable: set[int] = frozenset(),
    ) -> None:  # type: ignore[assignment]
        self.texts = captions
        self.pool = phrases
        self.unreadable = unreadable

    def __len__(self) -> int:
        return len(self.texts)

    def key(self, index: int) -> str:
        return f"image-{index}"

    def image(self, index: int) -> np.ndarray:
        if index in self.unreadable:
            raise DataError(f"image-{index}.jpg: torn")
        return np.full((6, 9, 3), index, np.uint8)

    def captions(self, index: int) -> list[str]:
        return self.texts[index]

    def phrases(self, index: int) -> list[Phrase] | None:
        return None if self.pool is None else self.pool[index]

    def queries(self, index: int) -> list[Query]:
        return [
            Query(text, np.array([[0, 0, 3, 3]], np.float32), f"{index}/{n}", text)
            for n, text in enumerate(self.texts[index])
        ]
