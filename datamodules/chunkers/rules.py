"""Noun phrases of English image captions by hand-made rules: no model, no download, tens of thousands of
captions a second and core.

Three steps. Every word gets a tag from the lexicon; the tags that are open (-ing and -ed forms, words that
are both noun and verb) are decided by their neighbours, left to right; a regular expression over the string
of tags finds the noun phrases.

The phrases follow the convention of Flickr30k Entities: a base noun phrase with its determiner and modifiers
("a small girl"), coordinated nouns apart ("a man", "a woman"), coordinated adjectives together ("a black and
white dog"), possessives inside ("a man 's hat"), and "X of Y" as one phrase ("a group of people", "the side
of a wall").

The subject is the last noun of the base noun phrase. In "X of Y" it is that of Y where X only counts, packs,
pictures or places Y ("a group of people" -> people, "a glass of beer" -> beer, "the edge of a pool" -> pool),
since X alone is not an object to be found in an image; else that of X ("the door of a car" -> door).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from datamodules.batches import Phrase
from datamodules.chunkers import lexicon
from datamodules.chunkers.base import PUNCTUATION, Chunker, phrase_text
from datamodules.chunkers.tag_rules import MAX_DISTANCE, close_tags
from datamodules.chunkers.words import nouns

_MODIFIERS = f"(?:B(?=[JK])|[JKN]|(?<!N)M|(?<=[JK])(?:,?C|,)(?=[JK])){{0,{MAX_DISTANCE}}}"
_BASE = f"D{{0,3}}{_MODIFIERS}N(?:S{_MODIFIERS}N)*"
_COLOUR = "(?:[DM]{1,3}|(?<=P))J{0,6}K(?:,?C?K){0,6}(?![JKN])"
_NOUN_PHRASE = re.compile(f"(?:D?[MD]O)?{_BASE}(?:O{_BASE})*|{_COLOUR}")


class RuleChunker(Chunker):
    """The default chunker. Captions are English; other languages give whole runs of words as phrases.

    Args:
        drop_settings: leave out phrases that name no object ("the background", "the air", "a time"), as an
            object-centric parser does.

    Example:
        >>> captions = ["A group of people watch a black and white dog ."]
        >>> [(phrase.text, phrase.subject) for phrase in RuleChunker()(captions)[0]]
        [('A group of people', 'people'), ('a black and white dog', 'dog')]
    """

    def __init__(self, drop_settings: bool = True) -> None:
        self.drop_settings = drop_settings

    @property
    def fingerprint(self) -> str:
        """Changes with every change of the rules or the words."""
        return f"rules-{_source_digest()}(drop_settings={self.drop_settings})"

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        """Finds the phrases of captions, see `Chunker`."""
        return [self._chunk(caption.split()) for caption in captions]

    def _chunk(self, tokens: list[str]) -> list[Phrase]:
        """The phrases of one caption."""
        slots = split_slots(tokens)
        tags = "".join(close_tags(slots.words, slots.tags))
        phrases = []
        for match in _NOUN_PHRASE.finditer(tags):
            first, last = match.span()
            head = head_slot(slots.words, tags, first, last)
            if self.drop_settings and last - first <= 2 and slots.words[head] in nouns.SETTINGS:
                continue  # names no object
            start = slots.tokens[first]
            end = slots.tokens[last - 1] + 1
            text = phrase_text(tokens, start, end)
            phrases.append(Phrase(text, subject(slots.words, tags, head), start, end))
        return phrases


@cache
def _source_digest() -> str:
    """Taken from the source, so that no version number can be forgotten when the rules change."""
    folder = Path(__file__).parent
    sources = [folder / name for name in ("rules.py", "tag_rules.py", "lexicon.py")]
    sources += sorted((folder / "words").glob("*.py"))
    content = b"".join(source.read_bytes() for source in sources)
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:10]


def head_noun(phrase: str) -> str:
    """The subject of a text that is one noun phrase.

    Returns:
        The subject by the rules, or the last word where they find none; "" where there are no words.

    Example:
        >>> head_noun("a pile of wet leaves")
        'leaves'
    """
    phrases = RuleChunker(drop_settings=False)([phrase])[0]
    if phrases:
        return phrases[0].subject
    words = phrase.lower().split() or [""]
    return words[-1].strip(PUNCTUATION)


class Slots(NamedTuple):
    """A caption with its punctuation split off.

    Args:
        words: lower case.
        tags: the lexicon's tag of each word.
        tokens: the token that each word comes from.
    """

    words: list[str]
    tags: list[str]
    tokens: list[int]

    def add(self, word: str, tag: str, token: int) -> None:
        """Appends a word."""
        self.words.append(word)
        self.tags.append(tag)
        self.tokens.append(token)


def split_slots(tokens: Sequence[str]) -> Slots:
    """Splits punctuation off the tokens and tags the words.

    "dog," becomes two slots of one token, so that a phrase cannot run over the comma unnoticed.

    Args:
        tokens: a caption, split at its blanks.
    """
    slots = Slots([], [], [])
    for i, token in enumerate(tokens):
        if token.isalpha():
            word = token.lower()
            slots.add(word, lexicon.tag(word), i)
            continue
        if token in {"'s", "\u2019s", "'"}:
            slots.add(token, "S", i)
            continue
        plural_possessive = token.endswith(("s'", "s\u2019")) and token[0] not in PUNCTUATION
        word = token.lower()
        if not plural_possessive:
            word = word.strip(PUNCTUATION)
        if not word:
            slots.add(token, _punctuation_tag(token), i)
            continue
        if token[0] in PUNCTUATION:
            slots.add(token[0], ".", i)
        slots.add(word, "." if word in {"-", "--"} else lexicon.tag(word), i)
        if token[-1] in PUNCTUATION and not plural_possessive:
            slots.add(token[-1], _punctuation_tag(token[-1]), i)
    return slots


def _punctuation_tag(mark: str) -> str:
    return "," if mark == "," else "."


def head_slot(words: Sequence[str], tags: str, first: int, last: int) -> int:
    """Index of the head noun of the phrase in slots ``first:last``.

    Of "X of Y" it is that of Y where X only counts, packs, pictures or places Y.
    """
    start = first
    while True:
        of_slot = tags.find("O", start, last)
        if of_slot < 0:
            return last - 1
        head = of_slot - 1
        if tags[head] not in "MD" and words[head] not in nouns.TRANSPARENT:
            return head
        start = of_slot + 1


def subject(words: Sequence[str], tags: str, head: int) -> str:
    """The head noun, lower case; two words where the last alone would name another thing ("teddy bear")."""
    if head and tags[head - 1] in "NJ":
        pair = f"{words[head - 1]} {words[head]}"
        if pair in nouns.COMPOUNDS:
            return pair
    return words[head]
