"""What was decided on every query of a test, as a table that is kept beside its results.

Any number of a run can be made again from it, for a part of the queries too, and two runs can be compared
query by query (`python cli.py report --compare A B`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from datamodules.batches import GroundingBatch
from datamodules.storage.whole_files import whole_file
from metrics.boxes import area, union_box
from metrics.decisions import Decisions

SCHEMA = pa.schema(
    {
        "dataset": pa.string(),
        "protocol": pa.string(),
        "method": pa.string(),
        "image": pa.string(),
        "key": pa.string(),
        "phrase": pa.string(),
        "point_x": pa.int32(),
        "point_y": pa.int32(),
        "box_x0": pa.float32(),
        "box_y0": pa.float32(),
        "box_x1": pa.float32(),
        "box_y1": pa.float32(),
        "hit": pa.bool_(),
        "iou": pa.float64(),
        "box_area": pa.float32(),
    }
)
ORDER = [(name, "ascending") for name in ("dataset", "protocol", "method", "key")]


class DecisionTable:
    """The decisions of a test: a row for each query, or chain of mentions, that a protocol judges.

    ``image``, ``key`` and ``phrase`` are those of a chain's first mention. Points and boxes are in pixels of
    the original image, boxes null where a map has none; ``box_area`` is the share of the image that the true
    box covers, or the box around them where there are several.
    """

    def __init__(self) -> None:
        self.parts: list[pa.Table] = []

    def add(
        self, dataset: str, protocol: str, method: str, batch: GroundingBatch, decisions: Decisions
    ) -> None:
        """Adds what was decided on a batch.

        Args:
            dataset: its name.
            protocol: by which was decided.
            method: ``model``, or a baseline.
            batch: the queries.
            decisions: on those of them that are judged.
        """
        queries = decisions.queries.tolist()
        images = batch.image_of_query.tolist()
        height, width = decisions.sizes.unbind(1)
        points = decisions.points.numpy()
        boxes = decisions.boxes.numpy()
        columns: dict[str, Any] = {
            "dataset": [dataset] * len(queries),
            "protocol": [protocol] * len(queries),
            "method": [method] * len(queries),
            "image": [batch.image_keys[images[query]] for query in queries],
            "key": [batch.keys[query] for query in queries],
            "phrase": [batch.phrases[query] for query in queries],
            "point_x": points[:, 1],
            "point_y": points[:, 0],
            "hit": decisions.hits.numpy(),
            "iou": decisions.ious.numpy(),
            "box_area": (area(union_box(decisions.targets)) / (height * width)).numpy(),
        }
        for number, name in enumerate(("box_x0", "box_y0", "box_x1", "box_y1")):
            columns[name] = pa.array(boxes[:, number], pa.float64(), from_pandas=True)  # NaN becomes null
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
        self.parts.append(pa.table(arrays, schema=SCHEMA))

    def gather(self) -> pa.Table:
        """The rows of all processes, in an order that does not depend on their number; called on all."""
        own = pa.concat_tables([SCHEMA.empty_table(), *self.parts])
        tables = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            tables = [own] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(tables, own)
        return pa.concat_tables(tables).sort_by(ORDER)


def write_decisions(path: Path, table: pa.Table) -> None:
    """Writes a table as a Parquet file, which appears when it is complete."""
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd")
