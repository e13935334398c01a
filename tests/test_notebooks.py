"""The notebooks run from the first cell to the last, and are stored without what they showed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.packaged_weights import PACKAGED_WEIGHTS
from tests.tiny import ROOT

GROUND = ROOT / "notebooks" / "ground.ipynb"


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_nothing_that_was_shown_is_stored() -> None:
    for cell in code_cells(GROUND):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.skipif(
    any(weights.find() is None for weights in PACKAGED_WEIGHTS), reason="needs the extra 'photos'"
)
def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells(GROUND):
        exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    assert "the temple: hit" in printed
    assert printed.count("overlap by") == 4
    assert names["result"].show().width > 640
