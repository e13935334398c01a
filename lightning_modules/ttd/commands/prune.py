"""Keeps the pairs of image and caption that fit together best: whose cosine is above the mean of all by one
standard deviation (TTD, section 4.1), as new shards.

It takes the options of `fit`, and scores the training set of the configuration by its model as it is at the
start. An interrupted command goes on where it stopped, and several processes may share the work (--part 0/4
to --part 3/4): the one that ends last writes the shards. The sets of several commands may go into one folder.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from commands.option_parser import option_parser
from commands.parts import add_part_option, run_as_fit


def main(argv: list[str]) -> int:
    """Prunes as a command; returns the exit code."""
    parser = option_parser("prune", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new shards")
    add_part_option(parser, "pairs")
    parser.add_argument(
        "--side", type=int, default=224, help="of the square images that are scored, in pixels"
    )
    options, words = parser.parse_known_args(argv[1:])
    from lightning_modules.ttd.commands.pruning import PruneCLI, Pruning  # here, so that --help is instant

    pruning = Pruning(options.out, options.side, *options.part)
    code, _ = run_as_fit(words, partial(PruneCLI, pruning))
    return code
