"""Keeps the pairs of image and caption that fit together best: whose cosine is above the mean of all by one
standard deviation (TTD, section 4.1), as new shards.

It takes the options of `fit`, and scores the training set of the configuration by its model as it is at the
start. An interrupted command goes on where it stopped, and several processes may share the work (--part 0/4
to --part 3/4): the one that ends last writes the shards. The sets of several commands may go into one folder.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from commands.option_parser import option_parser


def main(argv: list[str]) -> int:
    """Prunes as a command; returns the exit code."""
    parser = option_parser("prune", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new shards")
    parser.add_argument("--part", default="0/1", help="which part of the pairs, such as 0/4; by default all")
    parser.add_argument(
        "--side", type=int, default=224, help="of the square images that are scored, in pixels"
    )
    options, words = parser.parse_known_args(argv[1:])
    number, _, parts = options.part.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        print(
            f"error: --part {options.part!r} is no part: 0/4 is the first of four, 3/4 the last",
            file=sys.stderr,
        )
        return 2
    # Here, so that --help is instant.
    from commands.trainer import explained, run
    from lightning_modules.ttd.commands.pruning import PruneCLI, Pruning

    pruning = Pruning(options.out, options.side, int(number), int(parts))
    try:
        run(["fit", *words, "--trainer.logger", "false"], cli=partial(PruneCLI, pruning))
    except Exception as error:
        message, code = explained(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return code
    return 0
