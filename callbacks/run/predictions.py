"""What `predict` writes: for each phrase its point, its box, its heat map and a picture, as files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch.nn.functional import interpolate

from callbacks.heatmaps import model_heatmaps
from callbacks.pictures.grounding import draw
from datamodules.batches import GroundingBatch, denormalise
from datamodules.storage.whole_files import write_whole
from lightning_modules.capabilities import CanGround, require
from metrics.decisions import Decision, Queries, decide
from metrics.protocols import changed_protocol

NO_BOXES = torch.zeros(0, 4)


class Predictions(pl.Callback):
    """Writes ``<run>/predict/predictions-rank<r>.jsonl``, a line a query ``{image, key, phrase, protocol,
    point: [x, y], box: [x0, y0, x1, y1], score, heatmap, picture}`` in pixels of the original image. The
    score says how well the map fills its box (`metrics.decisions.Decisions`). The files are called after
    image and phrase: heat maps as 8-bit grey PNG of the image's size, pictures as
    `callbacks.pictures.grounding.draw` makes them.

    Point and box are those that `GroundingEvaluation` counts under the same protocol; where that averages the
    mentions of a chain, each mention has the decision on its chain.

    Args:
        heatmaps: whether to write heat maps.
        pictures: whether to write pictures.
        protocol: name of a preset of `metrics.protocols`.
        changes: fields of the protocol to set otherwise, as for `GroundingEvaluation`.
    """

    def __init__(
        self,
        heatmaps: bool = True,
        pictures: bool = True,
        protocol: str = "clean",
        changes: dict[str, Any] | None = None,
    ) -> None:
        self.heatmaps = heatmaps
        self.pictures = pictures
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
        numbers: Counter[int] = Counter()
        with self.path.open("a", encoding="utf-8") as file:
            for query, image in enumerate(batch.image_of_query.tolist()):
                numbers[image] += 1
                stem = file_stem(batch.image_keys[image], numbers[image], batch.phrases[query])
                if dataloader_idx:  # sets after the first may have images of the same names
                    stem = f"set{dataloader_idx + 1}-{stem}"
                decision = decisions.on(query)
                record = {
                    "image": batch.image_keys[image],
                    "key": batch.keys[query],
                    "phrase": batch.phrases[query],
                    "protocol": self.protocol.name,
                    "point": list(decision.point),
                    "box": list(decision.box) if decision.box else None,
                    "score": round(decision.score, 4),
                }
                height, width = batch.sizes[image].tolist()
                if self.heatmaps:
                    record["heatmap"] = self._write_heatmap(f"{stem}-heatmap.png", decision, (height, width))
                if self.pictures:
                    pixels = denormalise(batch.images[image], pl_module.preprocessing)
                    panel = draw(pixels, batch.phrases[query], decision, NO_BOXES, (height, width))
                    record["picture"] = self._write(f"{stem}.jpg", panel[..., ::-1])
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.written += len(batch)

    def _write_heatmap(self, name: str, decision: Decision, size: tuple[int, int]) -> str:
        full = interpolate(decision.heatmap[None, None].float().cpu(), size=size, mode="bicubic")
        return self._write(name, (255 * full[0, 0].clamp(0, 1).numpy()).astype(np.uint8))

    def _write(self, name: str, pixels: np.ndarray) -> str:
        _, content = cv2.imencode(Path(name).suffix, pixels)
        write_whole(self.folder / name, content.tobytes())
        return name

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says how many there are."""
        rank_zero_info(f"{self.written} predictions written to {self.path}")


def file_stem(image: str, number: int, phrase: str) -> str:
    """What the files of a query are called.

    Args:
        image: name of the image.
        number: of the query among those of its image.
        phrase: that was sought.

    Example:
        >>> file_stem("holiday/a.jpg", 2, "the dog, left")
        'holiday_a.jpg-2-the-dog--left'
    """
    words = "".join(letter if letter.isalnum() else "-" for letter in phrase)[:60].strip("-")
    return f"{image.replace('/', '_').replace(':', '_')}-{number}-{words}"
