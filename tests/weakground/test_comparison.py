"""Several models asked the same, as the page shows them; without the page."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datamodules.errors import DataError
from lightning_modules.errors import ModelError
from tests.callbacks.judging import Capable
from weakground.comparison import MOST_PHRASES, Comparison, read_photo
from weakground.grounder import Grounder


class Blind(Capable):
    """A module that cannot find anything in an image, as a text encoder alone."""

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        raise ModelError("grounding needs an image encoder.")


@pytest.fixture
def image() -> np.ndarray:
    """Black, but for a spot that fades towards its right end."""
    image = np.zeros((60, 120, 3), np.uint8)
    image[20:40, 60:90] = 255
    image[20:40, 90:] = 90
    return image


@pytest.fixture
def comparison() -> Comparison:
    return Comparison({"one": Grounder(Capable()), "two": Grounder(Capable()), "blind": Grounder(Blind())})


def test_phrases_are_found_by_each_model(comparison: Comparison, image: np.ndarray) -> None:
    answer = comparison.ask(image, " a  dog \n\na cat\na dog", is_caption=False)
    assert answer.phrases == ["a dog", "a cat"]
    assert answer.size == (60, 120)
    assert set(answer.decisions) == {"one", "two"}
    assert answer.complaints == {"blind": "grounding needs an image encoder."}
    assert not answer.words
    for decision in answer.decisions["one"]:
        x, y = decision.point
        assert image[y, x, 0] == 255
        assert 0 < decision.score <= 1


def test_it_decides_as_grounding_alone_does(comparison: Comparison, image: np.ndarray) -> None:
    answer = comparison.ask(image, "a dog", is_caption=False)
    alone = comparison.models["one"].ground(image, "a dog")
    decision = answer.decisions["one"][0]
    assert list(decision.point) == alone.points[0].tolist()
    assert decision.box == tuple(alone.boxes[0])
    assert decision.score == alone.scores[0]


def test_the_threshold_moves_boxes_and_nothing_else(comparison: Comparison, image: np.ndarray) -> None:
    wide = comparison.ask(image, "a dog", is_caption=False, threshold=0.1)
    narrow = wide.at(0.9)
    asked = comparison.ask(image, "a dog", is_caption=False, threshold=0.9)
    first = wide.decisions["one"][0]
    second = narrow.decisions["one"][0]
    assert first.point == second.point
    assert first.box is not None
    assert second.box is not None
    assert first.box[2] - first.box[0] > second.box[2] - second.box[0]
    assert second.box == asked.decisions["one"][0].box
    assert not np.array_equal(wide.picture("one", 0), narrow.picture("one", 0))


def test_a_caption_is_cut_into_phrases_and_words(comparison: Comparison, image: np.ndarray) -> None:
    answer = comparison.ask(image, "a small dog chases\na ball", is_caption=True)
    assert answer.phrases == ["a small dog", "a ball"]
    assert answer.caption == ["a", "small", "dog", "chases", "a", "ball"]
    for words in answer.words.values():
        assert words.groups == [1, 5, 3, 6, 1, 4]
        assert words.tags == [False, True, False, True, False, True]


@pytest.mark.parametrize(
    ("text", "is_caption", "message"),
    [
        ("", False, "Nothing is sought yet"),
        (" \n ", True, "Nothing is sought yet"),
        ("a dog " * 100, False, "has 600 letters"),
        ("\n".join(f"dog {number}" for number in range(MOST_PHRASES + 1)), False, "9 phrases"),
        ("and of the", True, "names nothing that could be found"),
    ],
)
def test_texts_that_cannot_be_sought(
    comparison: Comparison, image: np.ndarray, text: str, is_caption: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        comparison.ask(image, text, is_caption)


def as_file(content: Image.Image) -> BytesIO:
    file = BytesIO()
    content.save(file, "png")
    file.seek(0)
    return file


def test_photographs_are_read(tmp_path: Path) -> None:
    content = Image.new("RGB", (7, 5), "red")
    content.save(tmp_path / "a.png")
    for file in (tmp_path / "a.png", as_file(content)):
        assert read_photo(file, "a.png").tolist() == [[[255, 0, 0]] * 7] * 5


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (BytesIO(b"no image"), "a.png: not readable as an image"),
        (BytesIO(), "a.png: not readable as an image"),
        (as_file(Image.new("1", (8000, 6000))), "a.png has 8000x6000 pixels; make it smaller"),
        (as_file(Image.new("1", (20_000, 10_000))), "a.png has an enormous number of pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_photographs_that_cannot_be_read(file: BytesIO, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_photo(file, "a.png")


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_out_of_range(comparison: Comparison, image: np.ndarray, threshold: float) -> None:
    with pytest.raises(ValueError, match="box_threshold"):
        comparison.ask(image, "a dog", is_caption=False, threshold=threshold)


def test_random_state_is_left_alone(comparison: Comparison, image: np.ndarray) -> None:
    before = torch.random.get_rng_state()
    comparison.ask(image, "a dog", is_caption=False)
    assert torch.equal(before, torch.random.get_rng_state())
