"""Computes what a frozen encoder sees in the training images once, so that training need not look at them.

It takes the options of `fit`: python cli.py features --config configs/photos/alignment.yaml
--data.features FOLDER. Training with the same --data.features then reads them. Several processes may share
the work (--part 0/4 to --part 3/4), and an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from commands.option_parser import option_parser

if TYPE_CHECKING:
    from datamodules.storage.features import FeatureFolder


def main(argv: list[str]) -> int:
    """Computes and stores features as a command; returns the exit code."""
    parser = option_parser("features", __doc__)
    parser.add_argument("--part", default="0/1", help="which part of the images, such as 0/4; by default all")
    options, words = parser.parse_known_args(argv[1:])
    number, _, parts = options.part.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        print(
            f"error: --part {options.part!r} is no part: 0/4 is the first of four, 3/4 the last",
            file=sys.stderr,
        )
        return 2
    # Here, so that --help is instant.
    from commands.compute_features import FeatureCLI
    from commands.trainer import explained, run

    try:
        cli = run(
            ["fit", *words, "--trainer.logger", "false"], cli=partial(FeatureCLI, (int(number), int(parts)))
        )
    except Exception as error:
        message, code = explained(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return code
    folder: FeatureFolder = cli.datamodule.feature_folder()  # type: ignore[attr-defined]
    ready = sum(folder.is_complete(chunk) for chunk in folder.chunks)
    print(
        f"features of {folder.images:,} images: {ready} of {len(folder.chunks)} parts are in {folder.folder}"
    )
    return 0
