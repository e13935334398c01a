"""The region descriptions and split lists of Visual Genome, as rows of an index."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datamodules.errors import DataError
from datamodules.storage.index import ArrowIndex, Rows, stream_json
from datamodules.storage.safe_pickle import read_plain_pickle

SCHEMA = pa.schema(
    [
        ("image", pa.int64()),
        ("height", pa.int32()),  # by image_data.json; 0 where unknown
        ("width", pa.int32()),
        ("regions", pa.list_(pa.int64())),
        ("phrases", pa.list_(pa.string())),
        ("words", pa.list_(pa.uint16())),  # of each phrase
        # x, y, x + width, y + height, as published: some stick out of the image or are empty
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
    ]
)


def count_short_phrases(index: ArrowIndex, max_words: int) -> np.ndarray:
    """(rows,) int: how many phrases of each image have at most ``max_words`` words."""
    counts = [np.zeros(0, np.int64)]
    for chunk in index.column("words").chunks:
        short = np.cumsum(np.concatenate(([0], chunk.values.to_numpy() <= max_words)))
        counts.append(np.diff(short[chunk.offsets.to_numpy()]))
    return np.concatenate(counts)


def split_images(listing: Path, split: Literal["train", "val", "test"]) -> set[int]:
    """The image numbers of a split in ``data_splits.pickle`` or ``densecap_splits.json``.

    Raises:
        DataError: the file is damaged, or has no such split.
    """
    try:
        if listing.suffix == ".pickle":
            content = read_plain_pickle(listing)
        else:
            content = json.loads(listing.read_bytes())
        if split not in content:
            raise DataError(f"{listing} has no {split} split; it has {', '.join(map(str, content))}.")
        return {int(image) for image in content[split]}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{listing}: not readable as lists of images ({type(error).__name__}: {error}); "
            "get the file again."
        ) from error


def region_rows(descriptions: Path, image_data: Path | None) -> Rows:
    """Rows of `SCHEMA`; a line for each image or region that is left out. Raises `DataError`."""
    sizes = published_sizes(image_data) if image_data else {}
    images: set[int] = set()
    for number, entry in enumerate(stream_json(descriptions, "item")):
        try:
            image = int(entry["id"])
            regions = list(entry["regions"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"no image with regions ({type(error).__name__}: {error})"
            yield f"region_descriptions.json[{number}]\t{reason}"
            continue
        if image in images:
            yield f"{image}\tlisted twice"
            continue
        if sizes and image not in sizes:
            yield f"{image}\tnot listed in image_data.json"
            continue
        images.add(image)
        height, width = sizes.get(image, (0, 0))
        row: dict[str, Any] = {"image": image, "height": height, "width": width}
        yield from _add_regions(row, regions)
        if row["regions"]:
            yield row
    if not images:
        raise DataError(
            f"{descriptions}: not readable as region descriptions; it must hold a list of images, each with "
            "an id and regions."
        )


def _add_regions(row: dict[str, Any], regions: list[Any]) -> Iterator[str]:
    """Adds to a row what is sound as a text with four numbers; lines for the rest."""
    for column in ("regions", "phrases", "words", "boxes"):
        row[column] = []
    numbers: set[int] = set()
    for position, region in enumerate(regions):
        try:
            number = int(region["region_id"])
            words = region["phrase"].split()
            x = float(region["x"])
            y = float(region["y"])
            box = [x, y, x + float(region["width"]), y + float(region["height"])]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            yield f"{row['image']}/#{position}\tno region ({type(error).__name__}: {error})"
            continue
        fault = ""
        if number in numbers:
            fault = "listed twice"
        elif not words:
            fault = "the phrase is empty"
        elif not all(map(math.isfinite, box)):
            fault = "its box is not finite"
        if fault:
            yield f"{row['image']}/{number}\t{fault}"
            continue
        numbers.add(number)
        row["regions"].append(number)
        row["phrases"].append(" ".join(words))
        row["words"].append(min(len(words), 65535))
        row["boxes"].append(box)


def published_sizes(image_data: Path) -> Mapping[int, tuple[int, int]]:
    """(height, width) of each image by ``image_data.json``. Raises `DataError`."""
    try:
        sizes = {
            int(entry["image_id"]): (int(entry["height"]), int(entry["width"]))
            for entry in stream_json(image_data, "item")
        }
        if not sizes:
            raise ValueError("it lists no image")
        return sizes
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{image_data}: not readable as image meta data ({type(error).__name__}: {error}); "
            "get the file again."
        ) from error
