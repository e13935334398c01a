"""Training images a second on one core, from a JPEG file to the tensor that a model takes, against a plain
loop of PIL's.

    python -m benchmarks.images [--size tiny]

The photograph is scikit-learn's, in the size of COCO's images. Both ways decode with PIL; the difference of
their pixels is said, too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks._common import Report, Size, best_seconds, rate_row, report
from datamodules.batches import Preprocessing
from datamodules.storage.images import read_image, resize_image, resize_image_fast, to_tensor

SIDES = (224, 256, 384)


def plain(file: bytes, side: int) -> torch.Tensor:
    """As the public codes read an image."""
    with Image.open(io.BytesIO(file)) as image:
        resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def ours(file: bytes, preprocessing: Preprocessing) -> torch.Tensor:
    """As a training image is read here, its orientation and its mode looked at."""
    return to_tensor(resize_image_fast(read_image(io.BytesIO(file), "a photograph"), preprocessing))


def run(size: Size) -> Report:
    """How often as fast training images are read as by PIL alone, at several sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    image = load_sample_image("china.jpg")
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, "JPEG", quality=90)
    file = memory.getvalue()
    repeats = 2 if size == "tiny" else 60
    lines = [f"a photograph of {image.shape[1]} x {image.shape[0]} pixels, best of {repeats}"]
    rows = []
    for side in SIDES[:1] if size == "tiny" else SIDES:
        preprocessing = Preprocessing(side, mean=(0.5,) * 3, std=(0.5,) * 3)
        ways = {"PIL": partial(plain, file, side), "ours": partial(ours, file, preprocessing)}
        seconds = best_seconds(ways, repeats)
        ratio = seconds["PIL"] / seconds["ours"]
        path = f"a training image of {side} px from a JPEG file"
        rows.append(rate_row(path, "images", 1 / seconds["ours"], 1 / seconds["PIL"], "PIL"))
        fast = resize_image_fast(image, preprocessing).astype(int)
        difference = np.abs(fast - resize_image(image, preprocessing))
        lines.append(
            f"{side} px: PIL {1 / seconds['PIL']:.0f} images/s, ours {1 / seconds['ours']:.0f}, ratio "
            f"{ratio:.2f}; pixels differ by {difference.mean():.3f} levels in the mean, by more than 1 in "
            f"{(difference > 1).mean():.1e} of all"
        )
        assert difference.mean() < 0.1, "the fast way gives another image"
    torch.set_num_threads(threads)
    return Report(lines, rows)


def main(argv: Sequence[str] | None = None) -> None:
    report(run, __doc__, argv)


if __name__ == "__main__":
    main()
