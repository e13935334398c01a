from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.datamodules.storage.fuzz import fuzz


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # put back afterwards
    ends = fuzz(rounds=1500, seed=0, folder=tmp_path)
    assert ends.keys() == {"read", "refused"}
    assert min(ends.values()) > 500  # else the damage would be too small or too great to say much
