"""An example of each kind of sample to be judged.

That of ``datamodules/kinds/x.py`` is ``x.py`` here: a class ``Example``, the source of a small set, and a
function ``record(source, index)``: all that a source says about a record, in the form in which fakes write it
down.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from datamodules.kinds.base import Kind, Source
from datamodules.kinds.catalogue import kind_of


def example_of(kind: Kind) -> Source:
    """A small set of a listed kind."""
    return _examples(kind).Example()


def record_of(source: Source, index: int) -> Any:
    """All that a source says about a record."""
    return _examples(kind_of(source)).record(source, index)


def _examples(kind: Kind) -> Any:
    name = kind.source.__module__.rsplit(".", 1)[-1]
    return import_module(f"tests.datamodules.kinds.examples.{name}")
