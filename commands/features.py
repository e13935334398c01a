"""Computes what a frozen encoder sees in the training images once, so that training need not look at them.

It takes the options of `fit`: python cli.py features --config configs/photos/alignment.yaml
--data.features FOLDER. Training with the same --data.features then reads them. Several processes may share
the work (--part 0/4 to --part 3/4), and an interrupted command goes on where it stopped.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from commands.option_parser import option_parser
from commands.parts import add_part_option, run_as_fit

if TYPE_CHECKING:
    from datamodules.storage.features import FeatureFolder


def main(argv: list[str]) -> int:
    """Computes and stores features as a command; returns the exit code."""
    parser = option_parser("features", __doc__)
    add_part_option(parser, "images")
    options, words = parser.parse_known_args(argv[1:])
    from commands.compute_features import FeatureCLI  # here, so that --help is instant

    code, cli = run_as_fit(words, partial(FeatureCLI, options.part))
    if code:
        return code
    folder: FeatureFolder = cli.datamodule.feature_folder()
    ready = sum(folder.is_complete(chunk) for chunk in folder.chunks)
    print(
        f"features of {folder.images:,} images: {ready} of {len(folder.chunks)} parts are in {folder.folder}"
    )
    return 0
