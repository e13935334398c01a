from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.sets.class_names import COCO_THINGS
from datamodules.sets.coco_tags import WORDS_FILE, COCOTags, named_categories, read_names
from tests.fakes import coco_tags


def test_every_category_has_words() -> None:
    names = read_names(WORDS_FILE)
    assert set(names.values()) == set(range(1, len(COCO_THINGS) + 1))
    assert names["men",] == names["woman",] == names["ladies",] == 1
    assert ("orange",) not in names


def test_the_longest_name_counts() -> None:
    names = read_names(WORDS_FILE)

    def categories(caption: str) -> list[str]:
        return [COCO_THINGS[label - 1] if label else "" for label in named_categories(caption.split(), names)]

    assert categories("Teddy bears and a bear") == ["teddy bear", "teddy bear", "", "", "bear"]
    assert categories("baseball bats") == ["baseball bat", "baseball bat"]
    assert categories("a fire") == ["", ""]


def test_words_that_name_nothing_may_be_negative(tmp_path: Path) -> None:
    arguments = coco_tags.write(tmp_path / "coco").arguments
    known = COCOTags(**arguments, cache_dir=tmp_path).evaluation_source("test")
    everything = COCOTags(**arguments, cache_dir=tmp_path, unnamed="negative").evaluation_source("test")
    assert known.words(0) == ["A", "man", "and", "Puppies", ",", "kitten"]
    assert known.judged(0) == [False, True, False, True, False, True]
    assert everything.judged(0) == [True] * 6
    assert known.tags(0) == everything.tags(0) == [False, True, False, True, False, False]


@pytest.mark.parametrize("line", ["dog puppy", "unicorn: unicorn"])
def test_a_file_of_other_words_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"# mine\ncat: cat\n{line}\n")
    with pytest.raises(DataError, match=r"words\.txt:3"):
        read_names(path)
