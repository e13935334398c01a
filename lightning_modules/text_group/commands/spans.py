"""Judges baselines of text groups on captions with marked phrases.

`--run` adds k-means, spectral clustering and mean shift over the token vectors of a trained
`CausalTransformer`. `--write_vocabulary` lists the byte pairs of CLIP's that occur in captions, for
--model.text.vocabulary; `--write_openers` lists the words that open a new part of a caption, for
--model.text.openers, and `--openers` judges captions that are cut at them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from commands.option_parser import option_parser
from datamodules.errors import DataError
from lightning_modules.errors import ModelError


def main(argv: list[str]) -> int:
    """Judges baselines and writes lists of words as a command; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(argv[1:])
    if not (options.spans or options.root or options.write_vocabulary or options.write_openers):
        parser.error("name --spans FILE, --root FOLDER, --write_vocabulary FILE or --write_openers FILE")
    if (options.write_vocabulary or options.write_openers) and not options.captions:
        parser.error("--captions FILE says what to count in")
    try:
        run(options)
    except (DataError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = option_parser("spans", __doc__)
    judged = parser.add_argument_group("what is judged")
    judged.add_argument(
        "--spans", type=Path, nargs="*", default=[], help="files of json lines with tokens and phrases"
    )
    judged.add_argument(
        "--root", type=Path, help="folder of Flickr30k Entities, instead of --spans or as well"
    )
    judged.add_argument("--split", default="val", help="of Flickr30k Entities")
    judged.add_argument("--limit", type=int, help="captions of each set")
    judged.add_argument("--level", choices=("subword", "word"), default="subword")
    baselines = parser.add_argument_group("baselines")
    baselines.add_argument(
        "--run", type=Path, help="folder of a trained CausalTransformer, whose token vectors are clustered"
    )
    baselines.add_argument("--pieces", type=int, default=4, help="number of groups of those that have one")
    baselines.add_argument("--seed", type=int, default=0)
    baselines.add_argument("--openers", type=Path, help="also cut captions at the words of this file")
    lists = parser.add_argument_group("lists of words")
    lists.add_argument(
        "--captions", type=Path, nargs="*", default=[], help="files of captions that are counted in"
    )
    lists.add_argument("--write_vocabulary", type=Path, help="write the byte pairs that occur to this file")
    lists.add_argument("--at_least", type=int, default=3, help="how often a byte pair must occur")
    lists.add_argument("--write_openers", type=Path, help="write the words that open a part to this file")
    lists.add_argument("--count", type=int, default=40, help="number of openers")
    return parser


def run(options: argparse.Namespace) -> None:
    """Does what the options ask for, and prints it.

    Raises:
        DataError: a file is missing or damaged.
        ModelError: ``--run`` names no run.
    """
    # Here, so that --help is instant.
    from callbacks.evaluations.results import format_table
    from lightning_modules.text_group.commands.span_baselines import judge
    from lightning_modules.text_group.commands.word_lists import write_openers, write_vocabulary

    if options.write_vocabulary:
        print(write_vocabulary(options.captions, options.write_vocabulary, options.at_least))
    if options.write_openers:
        print(write_openers(options.captions, options.write_openers, options.count))
    if options.spans or options.root:
        print(format_table(judge(options)))


if __name__ == "__main__":
    sys.exit(main(["spans", *sys.argv[1:]]))
