"""Computes the vectors of a folder's images once, by GroupViT's frozen image encoder.

Training then need not look at images again. Several processes share the work by --part: `--part 0/4` to
`--part 3/4` write four files into the same folder, which --data.vectors takes as a whole.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.option_parser import option_parser
from commands.parts import add_part_option
from datamodules.errors import DataError
from lightning_modules.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


def encode(names: list[str], options: argparse.Namespace) -> tuple[list[str], np.ndarray, list[str]]:
    """Encodes images.

    Args:
        names: of the files below ``options.images``.
        options: see `python cli.py vectors --help`.

    Returns:
        Names and vectors (N,D) of the images that could be read, and a line for each that could not.

    Raises:
        ModelError: the weights are missing, or are those of another model.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    from datamodules.batches import Preprocessing, normalise
    from datamodules.storage.images import read_image, resize_image, to_tensor
    from lightning_modules.loading import PartFile
    from lightning_modules.text_group.options import IMAGENET_MEAN, IMAGENET_STD
    from networks.groupvit import GroupViTImageEncoder

    encoder = GroupViTImageEncoder()
    file = PartFile("image_encoder", options.weights, "--weights")
    print(file.load(torch.nn.ModuleDict({"image_encoder": encoder})))
    encoder.to(options.device)
    preprocessing = Preprocessing(encoder.image_size, IMAGENET_MEAN, IMAGENET_STD, "bilinear")
    kept: list[str] = []
    skipped: list[str] = []
    vectors = [np.zeros((0, encoder.width), np.float16)]
    for start in tqdm(range(0, len(names), options.batch_size), disable=not sys.stdout.isatty()):
        images = []
        for name in names[start : start + options.batch_size]:
            try:
                images.append(to_tensor(resize_image(read_image(options.images / name), preprocessing)))
                kept.append(name)
            except DataError as error:
                skipped.append(str(error))
        if images:
            pooled = encoder(normalise(torch.stack(images).to(options.device), preprocessing)).pooled
            vectors.append(pooled.half().cpu().numpy())
    return kept, np.concatenate(vectors), skipped


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = option_parser("vectors", __doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of images, searched recursively")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="GroupViT's weights: pytorch_model.bin of nvidia/groupvit-gcc-yfcc, or the official .pth",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that the .npz file is written into")
    add_part_option(parser, "images")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    return parser


def main(argv: list[str]) -> int:
    """Computes and writes vectors as a command; returns the exit code."""
    options = build_parser().parse_args(argv[1:])
    # Here, so that --help is instant.
    import numpy as np

    from datamodules.sets.image_caption_folder import find_images

    number, parts = options.part
    try:
        names = sorted(set(find_images(options.images).values()))[number::parts]
        kept, vectors, skipped = encode(names, options)
    except (DataError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"part-{number}-of-{parts}.npz"
    partial = path.with_suffix(".tmp.npz")
    np.savez(partial, names=kept, feats=vectors)
    partial.replace(path)
    message = f"{len(kept)} vectors of {vectors.shape[1]} numbers written to {path}"
    if skipped:
        message += f"; {len(skipped)} images skipped: {skipped[0]} ..."
    print(message)
    return 0


if __name__ == "__main__":
    sys.exit(main(["vectors", *sys.argv[1:]]))
