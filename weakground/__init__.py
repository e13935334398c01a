"""Weakground from Python: where in a photograph is a phrase?

Example:
    >>> import weakground
    >>> model = weakground.load("photos")                    # doctest: +SKIP
    >>> result = model.ground("photo.jpg", ["the dog"])      # doctest: +SKIP
    >>> result.points, result.boxes                          # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weakground.grounder import Grounder, GroundingResult
    from weakground.models import load

__version__ = "0.1.0"  # the one place that says it
__all__ = ["Grounder", "GroundingResult", "load"]
_HOMES = {
    "Grounder": "weakground.grounder",
    "GroundingResult": "weakground.grounder",
    "load": "weakground.models",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that `import weakground` is instant."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
