"""Weakground's one entry: ``python cli.py fit|validate|test|predict --config ...``, and further subcommands.

Only the chosen subcommand's code is imported, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from callbacks.run import signals
from commands import COMMANDS, USAGE
from commands.suggest import nearest


def main(argv: list[str]) -> int:
    """Runs a subcommand.

    Args:
        argv: the subcommand and its options.

    Returns:
        The exit code: 0, 1 for what a user can mend, 2 for a wrong command line or configuration.
    """
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    name = argv[0]
    if name not in COMMANDS:
        suggestion = nearest(name, COMMANDS)
        print(
            f"error: no subcommand {name!r}{suggestion} (`python cli.py --help` lists them)",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read by torch when it is imported
    return import_module(COMMANDS[name].module).main(argv)


def program(argv: list[str]) -> int:
    """Runs a subcommand as the only thing that this process does; returns the exit code."""
    if argv and argv[0] in COMMANDS and COMMANDS[argv[0]].module == "commands.trainer":
        # Before the heavy imports, and to the very end: a cluster may send a signal at any moment.
        signals.listen()
    return main(argv)


if __name__ == "__main__":
    sys.exit(program(sys.argv[1:]))
