"""Every data set that is not there says which path is missing, and what to do next, from its layout."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from datamodules.catalogue import DATASETS, WITHOUT_IMAGES, layouts
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.sets.flickr30k_entities import Flickr30kEntities
from datamodules.sets.foil_coco import FoilCOCO
from datamodules.sets.svo_probes import SVOProbes
from datamodules.sets.voc import PascalVOC
from tests.fakes import write_fake

PUBLISHED = [kind for kind in DATASETS if kind.__name__ in layouts()]


def error_of(data: Any) -> str:
    """What a data set says if it is opened for training, or else for testing."""
    try:
        if data.training_source() is None:
            data.evaluation_sources("test")
    except DatasetNotFoundError as error:
        return str(error)
    pytest.fail("it was opened")


@pytest.mark.parametrize("kind", [*DATASETS, *WITHOUT_IMAGES], ids=lambda kind: kind.__name__)
def test_every_data_set_has_a_layout_or_says_that_it_has_no_publisher(kind: type) -> None:
    assert hasattr(kind, "layout")


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_a_missing_folder_names_the_next_command(kind: Any, tmp_path: Path) -> None:
    root = tmp_path / "gone"
    message = error_of(kind(root=root))
    assert f"{root} not found" in message or f"{root}/" in message
    assert re.search(rf"`python cli\.py prepare {kind.__name__} [^`]*--root {root}", message)
    assert "--data.root" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_what_can_be_fetched_is_offered_and_the_rest_has_an_address(kind: Any, tmp_path: Path) -> None:
    message = error_of(kind(root=tmp_path / "gone"))
    parts = layouts()[kind.__name__].parts_for({})
    assert ("--download`" in message) == any(part.url for part in parts)
    for part in parts:
        assert bool(part.url) != bool(part.by_hand), part.path
        if part.by_hand:
            assert part.by_hand in message
            assert re.search(r"https?://|hf download", part.by_hand)


def test_a_missing_part_is_all_that_is_asked_for(tmp_path: Path) -> None:
    write_fake(Flickr30kEntities, tmp_path)
    for path in (tmp_path / "Annotations").iterdir():
        path.unlink()
    (tmp_path / "Annotations").rmdir()
    with pytest.raises(DatasetNotFoundError, match=r"annotations\.zip") as raised:
        Flickr30kEntities(root=tmp_path).evaluation_source("test")
    assert f"{tmp_path / 'Annotations'} not found; {tmp_path} must hold" in str(raised.value)


def test_the_default_folder_needs_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = error_of(PascalVOC())
    assert f"{tmp_path / 'data' / 'voc2012'} not found" in message
    assert "`python cli.py prepare PascalVOC --download` fetches it." in message


def test_an_option_of_the_photographs_is_named(tmp_path: Path) -> None:
    data = FoilCOCO(root=tmp_path / "gone", images=tmp_path / "photographs")
    message = error_of(data)
    assert f"prepare FoilCOCO images={tmp_path / 'photographs'} --root" in message
    assert "set --data.root or --data.images" in message


def test_photographs_without_which_nothing_is_left(tmp_path: Path) -> None:
    write_fake(SVOProbes, tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"both images of none .* pos_url and neg_url"):
        SVOProbes(root=tmp_path).evaluation_source("test")
