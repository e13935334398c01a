"""One thread, no loggers, and no real data unless it is there."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.memory import keep_freed_memory

keep_freed_memory()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as cli.py has it; torch reads it when it is imported
os.environ["WANDB_MODE"] = "disabled"

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What tests import stays to the end, and need not be searched for garbage again and again. timm comes
    without wandb, see `networks.layers.timm_import`.
    """
    gc.disable()
    sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        return (yield)
    finally:
        del sys.modules["wandb"]
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("real_data") and not REAL_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the optional folder ../shared/data"))
