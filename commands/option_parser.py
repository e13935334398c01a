"""The parser of a subcommand's options."""

from __future__ import annotations

import argparse


def option_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser without options yet.

    Args:
        name: of the subcommand.
        description: for its ``--help``; lines are kept as they are.

    Example:
        >>> option_parser("report", "What was measured.").format_usage()
        'usage: python cli.py report [-h]\\n'
    """
    return argparse.ArgumentParser(
        prog=f"python cli.py {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a misspelt option is a mistake, not the next longer one
    )
