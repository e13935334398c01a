"""Weakground's one entry: ``python cli.py fit|validate|test|predict --config ...``, and further subcommands.

Only the chosen subcommand's code is imported, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import weakground
from callbacks.run import signals
from commands import COMMANDS, PREFIX, USAGE
from commands.disk_errors import disk_fault
from commands.memory import keep_freed_memory
from commands.suggest import nearest

NO_READER = 141  # as a shell calls it: nobody has read the output to its end


def main(argv: list[str]) -> int:
    """Runs a subcommand.

    Args:
        argv: the subcommand and its options.

    Returns:
        The exit code: 0, 1 for what a user can mend, 2 for a wrong command line or configuration, or another
        of docs/clusters.md.
    """
    try:
        return run(argv)
    except BrokenPipeError:  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "lightning"}:
            raise
        print(
            f"error: {error.name} is not installed here: run `make setup`, and .venv/bin/python.",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        message = disk_fault(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return 1


def run(argv: list[str]) -> int:
    """As `main`, but a disk's errors are raised."""
    name = argv[0] if argv else "--help"
    try:
        if name in {"-h", "--help"}:
            print(USAGE)
            return 0
        if name == "--version":
            print(f"weakground {weakground.__version__}")
            return 0
        if name in COMMANDS:
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read by torch when it is imported
            return import_module(f"{PREFIX}{COMMANDS[name].module}").main(argv)
    finally:
        sys.stdout.flush()
    suggestion = nearest(name, COMMANDS)
    print(f"error: no subcommand {name!r}{suggestion} (`python cli.py --help` lists them)", file=sys.stderr)
    return 2


def program(argv: list[str]) -> int:
    """Runs a subcommand as the only thing that this process does; returns the exit code."""
    keep_freed_memory()
    if argv and argv[0] in COMMANDS and COMMANDS[argv[0]].module == "commands.start":
        # Before the heavy imports, and to the very end: a cluster may send a signal at any moment.
        signals.listen()
    return main(argv)


if __name__ == "__main__":
    sys.exit(program(sys.argv[1:]))
