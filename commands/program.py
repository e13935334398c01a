"""How other processes start this program."""

from __future__ import annotations

from lightning_modules.project_files import HOME, INSTALLED

# What follows the interpreter, in the folder of a clone.
PROGRAM = ["-m", "weakground"] if INSTALLED else ["cli.py"]


def program_anywhere() -> list[str]:
    """What follows the interpreter, in any folder."""
    return PROGRAM if INSTALLED else [str(HOME / "cli.py")]
