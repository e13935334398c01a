"""What `predict` writes: for each phrase its point, its box and its heat map, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.nn.functional import interpolate

from callbacks.heatmaps import model_heatmaps
from datamodules.batches import GroundingBatch
from datamodules.storage.whole_files import write_whole
from lightning_modules.capabilities import CanGround, require
from metrics.decisions import Decision, Queries, decide
from metrics.protocols import changed_protocol


class Predictions(pl.Callback):
    """Writes ``<run>/predict/predictions-rank<r>.jsonl``, a line a query ``{image, key, phrase, protocol,
    point: [x, y], box: [x0, y0, x1, y1], heatmap}`` in pixels of the original image, and the heat maps as
    8-bit grey PNG files of the image's size.

    Point and box are those that `GroundingEvaluation` counts under the same protocol; where that averages the
    mentions of a chain, each mention has the decision on its chain.

    Args:
        heatmaps: whether to write the PNG files.
        protocol: name of a preset of `metrics.protocols`.
        changes: fields of the protocol to set otherwise, as for `GroundingEvaluation`.
    """

    def __init__(
        self, heatmaps: bool = True, protocol: str = "clean", changes: dict[str, Any] | None = None
    ) -> None:
        self.heatmaps = heatmaps
        self.protocol = changed_protocol(protocol, changes)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Checks that the module can ground.

        Raises:
            ModelError: it cannot.
        """
        require(pl_module, CanGround, type(self).__name__)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins an empty file."""
        self.folder = Path(trainer.default_root_dir) / "predict"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"predictions-rank{trainer.global_rank}.jsonl"
        self.path.write_text("")
        self.written = 0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: GroundingBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds the queries of a batch."""
        if not isinstance(batch, GroundingBatch) or not len(batch):
            return
        heatmaps = model_heatmaps(trainer, pl_module, batch, self.protocol.prompt)
        queries = Queries(batch.sizes, batch.image_of_query, batch.chain_of_query, batch.keys)
        decisions = decide(heatmaps, queries, self.protocol)
        with self.path.open("a", encoding="utf-8") as file:
            for query in range(len(batch)):
                record = self._record(batch, query, decisions.on(query))
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.written += len(batch)

    def _record(self, batch: GroundingBatch, query: int, decision: Decision) -> dict[str, Any]:
        record: dict[str, Any] = {
            "image": batch.image_keys[int(batch.image_of_query[query])],
            "key": batch.keys[query],
            "phrase": batch.phrases[query],
            "protocol": self.protocol.name,
            "point": list(decision.point),
            "box": list(decision.box) if decision.box else None,
        }
        if self.heatmaps:
            size = tuple(batch.sizes[int(batch.image_of_query[query])].tolist())
            full = interpolate(decision.heatmap[None, None].float().cpu(), size=size, mode="bicubic")
            name = f"{batch.keys[query].replace('/', '_').replace(':', '_')}.png"
            pixels = (255 * full[0, 0].clamp(0, 1).numpy()).astype(np.uint8)
            _, content = cv2.imencode(".png", pixels)
            write_whole(self.folder / name, content.tobytes())
            record["heatmap"] = name
        return record

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says how many there are."""
        rank_zero_info(f"{self.written} predictions written to {self.path}")
