"""One thread, no loggers, and no real data unless it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.memory import keep_freed_memory

keep_freed_memory()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "disabled"

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("real_data") and not REAL_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the optional folder ../shared/data"))
