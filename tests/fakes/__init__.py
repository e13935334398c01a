"""Small data sets in the formats in which their publishers ship them, nasty cases included.

The writer of ``datamodules/sets/x.py`` is ``tests/fakes/x.py``: a function ``write(root)``, or
``write_<class>`` where the file holds several classes. It gives a `tests.fakes.base.Fake`, or a
`tests.fakes.judged.Judged` if the set is judged by something else than boxes.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any


def write_fake(kind: type, root: Path) -> Any:
    """The fake of a datamodule class, written into ``root``."""
    module = import_module(f"tests.fakes.{kind.__module__.rsplit('.', 1)[-1]}")
    return getattr(module, f"write_{kind.__name__.lower()}", getattr(module, "write", None))(root)
