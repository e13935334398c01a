"""The command ``weakground``, the same as ``python cli.py``."""

from __future__ import annotations

import sys

from cli import program


def main() -> int:
    """Runs the command line of this process; returns the exit code."""
    return program(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
