"""What a user may hand over: a photograph in one of several forms, and phrases."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.errors import DataError
from datamodules.storage.images import read_image, rgb_pixels

Photo = str | Path | Image.Image | np.ndarray
"""A file, a Pillow image, or an array: (H,W,3) uint8 RGB, or (H,W) uint8 grey."""


def pixels_of(photo: Photo) -> np.ndarray:
    """A photograph as (H,W,3) uint8 RGB.

    Raises:
        DataError: the file is no image, or the array is of another form.

    Example:
        >>> pixels_of(np.zeros((4, 6), np.uint8)).shape
        (4, 6, 3)
    """
    if isinstance(photo, (str, Path)):
        return read_image(Path(photo))
    if isinstance(photo, Image.Image):
        return rgb_pixels(photo)
    pixels = np.asarray(photo)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataError(
            f"a photograph is a file, a Pillow image or an array of uint8 in the form (H,W,3), RGB, and not "
            f"{pixels.dtype} in the form {pixels.shape}."
        )
    return pixels


def checked_phrases(phrases: Sequence[str] | str) -> list[str]:
    """One or several phrases, each with single blanks between its words.

    Raises:
        DataError: there is none, or one holds no word.

    Example:
        >>> checked_phrases(" the  dog ")
        ['the dog']
    """
    texts = [phrases] if isinstance(phrases, str) else list(phrases)
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"a phrase must be text, and not {text!r}.")
    texts = [" ".join(text.split()) for text in texts]
    if not texts or not all(texts):
        raise DataError("a phrase is empty: say what is to be found, such as 'the dog on the left'.")
    for text in texts:
        if not any(letter.isalnum() for letter in text):
            raise DataError(f"the phrase {text!r} holds no word: say what is to be found in words.")
    return texts


def in_other_scripts(phrases: Iterable[str]) -> list[str]:
    """The phrases without a Latin letter or a digit, which a model of English captions cannot know.

    Example:
        >>> in_other_scripts(["un chien", "犬", "собака 7"])
        ['犬']
    """
    return [text for text in phrases if not any(_is_latin_or_digit(letter) for letter in text)]


def _is_latin_or_digit(letter: str) -> bool:
    return letter.isdigit() or (letter.isalpha() and "LATIN" in unicodedata.name(letter, ""))
