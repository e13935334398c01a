"""Lists of the English words that image captions use, a file for each part of speech."""

from __future__ import annotations


def word_list(text: str) -> frozenset[str]:
    """The words of a text, which are separated by blanks or line breaks."""
    return frozenset(text.split())
