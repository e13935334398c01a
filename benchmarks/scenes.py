"""Scenes a second on one core, captions included, against the same generator without its cache of stamps.

    python -m benchmarks.scenes [--scenes 2000] [--image-size 64]

The baseline rasterises every object from its formula, supersampled, as it is drawn; the pictures are the same
to the last bit, which is checked.
"""

from __future__ import annotations

import argparse
import time
from unittest.mock import patch

import numpy as np

from datamodules.synthetic import scene_drawing as scenes


def scenes_per_second(number: int, image_size: int) -> float:
    start = time.perf_counter()
    for index in range(number):
        scenes.make_scene(1, "train", index, image_size)
    return number / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    cold = scenes_per_second(args.scenes, args.image_size)
    cached, naive = [], []
    for _ in range(args.repeats):  # in turn, so that a busy machine slows both
        cached.append(scenes_per_second(args.scenes, args.image_size))
        picture = scenes.make_scene(0, "test", 0, args.image_size).image
        with patch.object(scenes, "stamp", scenes.stamp.__wrapped__):
            naive.append(scenes_per_second(args.scenes // 4, args.image_size))
            if not np.array_equal(picture, scenes.make_scene(0, "test", 0, args.image_size).image):
                raise SystemExit("The cache of stamps changes the picture.")
    print(f"{args.scenes} scenes of {args.image_size} px, five captions each, best of {args.repeats}")
    print(f"cached stamps   {max(cached):8.0f} scenes/s   (first pass, caches empty: {cold:.0f})")
    print(f"naive           {max(naive):8.0f} scenes/s")
    print(f"ratio           {max(cached) / max(naive):8.1f}")


if __name__ == "__main__":
    main()
