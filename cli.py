"""Weakground's one entry: ``python cli.py fit|validate|test|predict --config ...``, and further subcommands.

Only the chosen subcommand's code is imported, so that ``--help`` is instant.
"""

from __future__ import annotations

import sys
from importlib import import_module

from commands import COMMANDS, USAGE


def main(argv: list[str]) -> int:
    """Runs a subcommand; returns the exit code: 0, 1 for what a user can mend, 2 for a wrong command line."""
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    if argv[0] not in COMMANDS:
        from commands.suggest import nearest

        print(
            f"error: no subcommand {argv[0]!r}{nearest(argv[0], COMMANDS)} (`python cli.py --help` lists them)",
            file=sys.stderr,
        )
        return 2
    return import_module(COMMANDS[argv[0]].module).main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
