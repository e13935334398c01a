"""Commands that share their work among processes, and build model and data as `fit` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from commands.quick_imports import quick_imports


def add_part_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--part NUMBER/PARTS``, which is read as a pair of numbers.

    Args:
        parser: of the command.
        what: is shared, for its help.
    """
    parser.add_argument(
        "--part", type=part_of, default=(0, 1), help=f"which part of the {what}, such as 0/4; by default all"
    )


def part_of(text: str) -> tuple[int, int]:
    """The number of a part and of all parts.

    Raises:
        argparse.ArgumentTypeError: the text says neither.

    Example:
        >>> part_of("3/4")
        (3, 4)
    """
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: 0/4 is the first of four, 3/4 the last")
    return int(number), int(parts)


def run_as_fit(words: list[str], cli: Callable[..., Any]) -> tuple[int, Any]:
    """Builds model and data by the options of `fit`, and runs something else in place of training.

    Args:
        words: options of `fit`.
        cli: a `commands.trainer.WeakgroundCLI` that runs it.

    Returns:
        The exit code, and the command line if it is 0. An error that a user can mend has been printed.
    """
    with quick_imports():  # here, so that --help is instant
        from commands.trainer import explained, run

    try:
        return 0, run(["fit", *words, "--trainer.logger", "false"], cli=cli)
    except Exception as error:
        message, code = explained(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return code, None
