"""Noun phrases by spaCy's dependency parser: its noun chunks, with the chunk's root as the subject."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from datamodules.batches import Phrase
from datamodules.chunkers.base import PUNCTUATION, Chunker, phrase_text
from datamodules.errors import DataError


class SpacyChunker(Chunker):
    """spaCy's noun chunks; a chunk whose root is a pronoun ("he", "which") is left out.

    Unlike ``RuleChunker``, "a group of people" gives two phrases, "a group" and "people".

    Args:
        model: an installed spaCy pipeline with a parser.
        batch_size: captions parsed together.

    Raises:
        DataError: at the first call, where spaCy or the pipeline is not installed.
    """

    def __init__(self, model: str = "en_core_web_sm", batch_size: int = 256) -> None:
        self.model = model
        self.batch_size = batch_size
        self._pipeline: Any = None

    @property
    def fingerprint(self) -> str:
        """From the installed versions, so that a reader of a cache need not load the parser."""
        return f"spacy-1({self.model} {_installed(self.model)}, spacy {_installed('spacy')})"

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """Finds the phrases of captions, see `Chunker`."""
        documents = self._load().pipe(captions, batch_size=self.batch_size)
        return [phrases_of(caption, document) for caption, document in zip(captions, documents, strict=True)]

    def _load(self) -> Any:
        """The pipeline, loaded at the first call."""
        if self._pipeline is None:
            try:
                self._pipeline = import_module("spacy").load(self.model, exclude=["ner"])
            except (ImportError, OSError) as error:
                raise DataError(
                    f"SpacyChunker needs spaCy and its pipeline {self.model!r}: "
                    f"run `pip install spacy && python -m spacy download {self.model}`, "
                    "or use RuleChunker, which needs neither."
                ) from error
        return self._pipeline


def _installed(package: str) -> str:
    """The version of a package; "not installed" also for a pipeline that is named by its folder."""
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return "not installed"


def phrases_of(caption: str, document: Any) -> list[Phrase]:
    """Aligns a parsed caption's noun chunks to its whitespace tokens.

    Each chunk covers every token that it touches. spaCy splits finer than whitespace ("dog," is two of its
    tokens), never coarser, so that a chunk's characters always fall into some token.

    Args:
        caption: the text.
        document: spaCy's document of it.
    """
    tokens = caption.split()
    extents = _token_extents(caption, tokens)
    phrases: list[Phrase] = []
    for chunk in document.noun_chunks:
        if chunk.root.pos_ == "PRON":
            continue
        touched = [
            i for i, (first, last) in enumerate(extents) if first < chunk.end_char and last > chunk.start_char
        ]
        if not touched or (phrases and touched[0] < phrases[-1].end):
            continue
        start = touched[0]
        end = touched[-1] + 1
        subject = chunk.root.text.lower().strip(PUNCTUATION)
        phrases.append(Phrase(phrase_text(tokens, start, end), subject, start, end))
    return phrases


def _token_extents(caption: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """First character of each token, and the one behind its last."""
    extents = []
    position = 0
    for token in tokens:
        start = caption.index(token, position)
        position = start + len(token)
        extents.append((start, position))
    return extents
