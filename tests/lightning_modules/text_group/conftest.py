"""The vocabulary of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lightning_modules.conftest import WORDS


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocabulary.txt"
    path.write_text("\n".join(WORDS))
    return path
