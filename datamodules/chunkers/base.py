"""What a chunker is: captions in, object-centric noun phrases and their subjects out (HIST, section 3.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from datamodules.batches import Phrase

# What may stand before or behind a word. Hyphens are left alone: they belong to words ("t-shirt").
PUNCTUATION = ".,;:!?\"()[]{}<>*#~`|\u2018\u2019\u201c\u201d\u2026'"


class Chunker(ABC):
    """Finds the noun phrases of captions, and the subject (head noun) of each."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Name, version and options: two chunkers with the same fingerprint give the same phrases.

        Part of the key of ``PhraseCache``.
        """

    @abstractmethod
    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """Finds the phrases of captions.

        Args:
            captions: any number of them.

        Returns:
            The phrases of each caption, in reading order, none overlapping another. Spans are over
            ``caption.split()``. ``Phrase.caption`` is left at 0: a chunker does not know which captions share
            an image.
        """


def phrase_text(tokens: Sequence[str], start: int, end: int) -> str:
    """The words of ``tokens[start:end]`` joined by blanks, without punctuation at either end.

    Example:
        >>> phrase_text(["See", "a", "dog,", "a", "cat."], 1, 3)
        'a dog'
    """
    return " ".join(tokens[start:end]).strip(PUNCTUATION + " ")
