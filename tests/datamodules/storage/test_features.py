"""Stored features: complete or not, of the right images and encoder, and what could not be read."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.handover import FeatureSpec
from datamodules.storage import features
from datamodules.storage.features import FeatureFolder, Features


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureFolder:
    """Five images in chunks of two; image 3 cannot be read."""
    monkeypatch.setattr(features, "CHUNK", 2)
    folder = FeatureFolder(tmp_path / "stored", FeatureSpec("an encoder", 3), images=5, names="abc")
    folder.claim()
    for chunk in folder.chunks:
        rows = np.array([[index, index + 0.5, -index] for index in folder.rows_of(chunk)], np.float16)
        folder.write(chunk, rows, {3: "torn"} if chunk == 1 else {})
    return folder


def test_rows_come_back(folder: FeatureFolder) -> None:
    stored = Features(folder)
    assert stored.row(4).tolist() == [4, 4.5, -4]
    assert stored.row(0).dtype == np.float16
    assert pickle.loads(pickle.dumps(stored)).row(2).tolist() == [2, 2.5, -2]  # as a worker has it
    with pytest.raises(DataError, match="torn"):
        stored.row(3)
    assert not list(folder.folder.glob("*.partial"))


def test_an_interrupted_folder_says_how_to_go_on(folder: FeatureFolder) -> None:
    (folder.folder / "000001.npy").unlink()
    assert [folder.is_complete(chunk) for chunk in folder.chunks] == [True, False, True]
    with pytest.raises(DataError, match=r"lacks 1 of its 3 parts.*python cli\.py features"):
        Features(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": "xyz"}, "features of 5 other images"),
        ({"spec": FeatureSpec("another encoder", 3)}, "another encoder"),
        ({"spec": FeatureSpec("an encoder", 4)}, "another encoder"),
    ],
)
def test_features_of_something_else_are_refused(
    folder: FeatureFolder, change: dict[str, object], message: str
) -> None:
    other = replace(folder, **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        other.claim()
    with pytest.raises(DataError, match=message):
        Features(other)


def test_no_features_at_all(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path / "nothing", FeatureSpec("an encoder", 3), images=5, names="abc")
    with pytest.raises(DataError, match="holds no features"):
        Features(folder)
