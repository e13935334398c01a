from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from callbacks.pictures.grounding import DARK, GREY, ORANGE, RED
from callbacks.pictures.tags import HIT, LINE, SIDE, TagPictures, draw_tags, word_colour, write_words
from tests.callbacks.judging import Capable, Data, judge
from tests.datamodules.kinds.examples import tags


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_colours_say_what_is_right() -> None:
    assert word_colour(True, True, True) == HIT
    assert word_colour(True, False, True) == ORANGE
    assert word_colour(False, True, True) == RED
    assert word_colour(False, True, False) == GREY
    assert word_colour(False, False, True) == word_colour(False, False, False) == DARK


def test_long_captions_take_several_lines() -> None:
    one = write_words(["dog"], [RED], 400)
    assert RED in colours_in(one)
    many = write_words(["dog"] * 40, [HIT] * 40, 400)
    assert many.shape[0] == one.shape[0] + 2 * LINE
    assert many.shape[1] == 400


def test_a_panel_shows_the_image_and_each_map() -> None:
    image = np.full((20, 30, 3), 90, np.uint8)
    maps = {"the caption": np.zeros((4, 4), np.float32), "dog": np.ones((4, 4), np.float32)}
    panel = draw_tags(image, ["a", "dog"], [DARK, HIT], maps)
    tiles = panel[-SIDE:].reshape(SIDE, -1, SIDE, 3)
    assert (tiles[:, 0] == 90).all()
    assert tiles[:, 2, :, 0].mean() > tiles[:, 1, :, 0].mean()  # hot is red
    assert (tiles[:, 3:] == 255).all()


def test_a_gallery_is_written(tmp_path: Path) -> None:
    judge(tmp_path, Data(tags=tags.Example()), Capable(), TagPictures(count=2))
    sheet = cv2.imread(str(tmp_path / "test" / "pictures" / "tags.png"))
    assert sheet.std() > 10
