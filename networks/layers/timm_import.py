"""timm, imported when it is needed: it takes seconds."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def import_timm() -> Any:
    """The package timm, without wandb.

    timm imports wandb, where that is installed, for a training script of its own. That alone takes longer
    than all the rest of timm, and most commands that need a network need no logger.
    """
    if "timm" in sys.modules or "wandb" in sys.modules:
        return import_module("timm")
    sys.modules["wandb"] = None  # type: ignore[assignment] # an import of it fails, which timm expects
    try:
        return import_module("timm")
    finally:
        del sys.modules["wandb"]
