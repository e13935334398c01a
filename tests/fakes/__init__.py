"""Small data sets in the formats in which their publishers ship them, nasty cases included.

The writer of ``datamodules/sets/x.py`` is ``tests/fakes/x.py``: a function ``write(root) -> Fake``, or
``write_<class>`` where the file holds several classes.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.fakes.base import Fake


def write_fake(kind: type, root: Path) -> Fake:
    """The fake of a datamodule class, written into ``root``."""
    module = import_module(f"tests.fakes.{kind.__module__.rsplit('.', 1)[-1]}")
    return getattr(module, f"write_{kind.__name__.lower()}", getattr(module, "write", None))(root)
