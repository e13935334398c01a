"""Who teaches a model that learns from its own kind of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TeacherOptions:
    """Whose maps the student learns from.

    Args:
        kind: the student ``self``; the student as it was at the start (``frozen``); or its moving average
            (``ema``).
        decay: of the moving average, a step.
    """

    kind: Literal["self", "frozen", "ema"]
    decay: float = 0.999
