"""What `predict` writes: for each phrase its point, its box and its heat map, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.nn.functional import interpolate

from datamodules.batches import GroundingBatch
from lightning_modules.capabilities import CanGround, require
from metrics.boxes import boxes_from_heatmap, union_box
from metrics.pointing_game import peak_points


class Predictions(pl.Callback):
    """Writes ``<run>/predict/predictions-rank<r>.jsonl``, a line a query ``{key, phrase, point: [x, y], box:
    [x0, y0, x1, y1], heatmap}`` in pixels of the original image, and the heat maps as 8-bit grey PNG files of
    the image's size.

    Args:
        heatmaps: whether to write the PNG files.
    """

    def __init__(self, heatmaps: bool = True) -> None:
        self.heatmaps = heatmaps

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        require(pl_module, CanGround, type(self).__name__)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.folder = Path(trainer.default_root_dir) / "predict"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path, self.written = self.folder / f"predictions-rank{trainer.global_rank}.jsonl", 0
        self.path.write_text("")

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: GroundingBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, GroundingBatch) or not len(batch):
            return
        with trainer.precision_plugin.forward_context():
            heatmaps = pl_module.ground(batch.images, batch.phrases, batch.image_of_query).float().cpu()
        with self.path.open("a", encoding="utf-8") as file:
            for query, heatmap in enumerate(heatmaps):
                size = tuple(batch.sizes[int(batch.image_of_query[query])].tolist())
                file.write(json.dumps(self._record(batch, query, heatmap, size), ensure_ascii=False) + "\n")
        self.written += len(batch)

    def _record(
        self, batch: GroundingBatch, query: int, heatmap: torch.Tensor, size: tuple[int, int]
    ) -> dict[str, Any]:
        resized = interpolate(heatmap[None, None], size=size, mode="bicubic")[0, 0].clamp(0, 1)
        y, x = peak_points(heatmap[None], size)[0].tolist()
        found = boxes_from_heatmap(resized, "clean")
        record = {"key": batch.keys[query], "phrase": batch.phrases[query], "point": [x, y], "box": None}
        if len(found):
            record["box"] = union_box(torch.from_numpy(found[None, :, :4]))[0].tolist()
        if self.heatmaps:
            name = f"{batch.keys[query].replace('/', '_').replace(':', '_')}.png"
            cv2.imwrite(str(self.folder / name), (255 * resized.numpy()).astype(np.uint8))
            record["heatmap"] = name
        return record

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rank_zero_info(f"{self.written} predictions written to {self.path}")
