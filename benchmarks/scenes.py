"""Scenes a second on one core, captions included, against the same generator without its cache of stamps.

    python -m benchmarks.scenes [--size tiny]

The baseline rasterises every object from its formula, supersampled, as it is drawn; the pictures are the same
to the last bit, which is checked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks._common import Report, Size, rate_row, report
from datamodules.synthetic import scene_drawing as scenes

IMAGE_SIZE = 64


def scenes_per_second(number: int) -> float:
    start = time.perf_counter()
    for index in range(number):
        scenes.make_scene(1, "train", index, IMAGE_SIZE)
    return number / (time.perf_counter() - start)


def without_cache() -> Any:
    """A context in which every object is drawn from its formula."""
    return patch.object(scenes, "stamp", scenes.stamp.__wrapped__)


def run(size: Size) -> Report:
    """How often as fast scenes are drawn with the cache as without."""
    number, repeats = (8, 1) if size == "tiny" else (2000, 3)
    picture = scenes.make_scene(0, "test", 0, IMAGE_SIZE).image
    with without_cache():
        drawn = scenes.make_scene(0, "test", 0, IMAGE_SIZE).image
    assert np.array_equal(picture, drawn), "the cache of stamps changes the picture"

    first_pass = scenes_per_second(number)
    cached = []
    naive = []
    for _ in range(repeats):  # in turn, so that a busy machine slows both
        cached.append(scenes_per_second(number))
        with without_cache():
            naive.append(scenes_per_second(number // 4))
    ratio = max(cached) / max(naive)
    lines = [
        f"{number} scenes of {IMAGE_SIZE} px, five captions each, best of {repeats}",
        f"cached stamps   {max(cached):8.0f} scenes/s   (first pass, caches empty: {first_pass:.0f})",
        f"naive           {max(naive):8.0f} scenes/s",
        f"ratio           {ratio:8.1f}",
    ]
    path = f"made scenes of {IMAGE_SIZE} px with captions"
    return Report(lines, [rate_row(path, "scenes", max(cached), max(naive), "no cached stamps")])


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv)


if __name__ == "__main__":
    main()
