"""Phrases in other words, and lists of such words."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.synthetic.scene_objects import PLURALS, SHAPE_OF_NOUN
from lightning_modules.errors import ModelError
from lightning_modules.selfeq.equivalents import SYNONYMS, Equivalents, read_synonyms
from tests.tiny import ROOT, SCENE_WORDS

SCENE_SYNONYMS = ROOT / "configs" / "demo" / "scenes_synonyms.txt"


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("a red car", ["a red automobile"]),
        ("A car", ["an automobile"]),
        ("the cars", ["the automobiles"]),
        ("a mobile phone on the sofa", None),
        ("a carton", ["the carton"]),  # no car
        ("the old tree", ["an old tree"]),
        ("trees", []),
        ("the", []),
        ("", []),
    ],
)
def test_equivalents(phrase: str, expected: list[str] | None) -> None:
    equivalents = Equivalents(SYNONYMS).of(phrase)
    if expected is not None:
        assert equivalents == expected
        return
    assert "a cellphone on the sofa" in equivalents
    assert "a mobile phone on the couch" in equivalents


def test_articles_can_be_left_alone() -> None:
    assert Equivalents(SYNONYMS, articles=False).of("the old tree") == []
    assert Equivalents(SYNONYMS, articles=False).draw("the old tree") is None


def test_each_is_drawn() -> None:
    equivalents = Equivalents(SYNONYMS)
    assert {equivalents.draw("the sofa") for _ in range(50)} == {"the couch", "the settee"}


def test_the_list_of_scenes_is_true_and_in_its_vocabulary() -> None:
    tokens = set(Path(SCENE_WORDS).read_text().split())
    for word, others in read_synonyms(SCENE_SYNONYMS).items():
        for other in others:
            assert {word, other} <= tokens
            assert SHAPE_OF_NOUN[word] == SHAPE_OF_NOUN[other]
            assert (word in PLURALS) == (other in PLURALS)


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no list of synonyms at .*: set --model\.synonyms"):
        read_synonyms(tmp_path / "none.txt")
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\nalone\n")
    with pytest.raises(ModelError, match="names no synonyms"):
        read_synonyms(empty)
