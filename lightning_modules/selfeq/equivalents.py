"""The same phrase in other words: by a list of words that mean the same, or by its article."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from lightning_modules.errors import ModelError
from lightning_modules.project_files import project_file

SYNONYMS = Path(__file__).with_name("synonyms.txt")
VOWELS = tuple("aeiou")


class Equivalents:
    """Says phrases in other words.

    SelfEQ asks a language model for the synonyms of every caption's objects. Its prompts are not published;
    here one word of the phrase is exchanged for another of its line in a list.

    Args:
        synonyms: a file; in each line words that mean the same, with commas between them, a comment behind #.
        articles: "a dog" is said as "the dog", and the other way round, where no word is in the list.

    Raises:
        ModelError: no such file, or it has no line of two words.

    Example:
        >>> equivalents = Equivalents(SYNONYMS)
        >>> equivalents.of("an old sofa")
        ['an old couch', 'an old settee']
        >>> equivalents.of("A dog"), equivalents.of("two dogs")
        (['the dog'], [])
    """

    def __init__(self, synonyms: Path, articles: bool = True) -> None:
        self.words = read_synonyms(synonyms)
        self.articles = articles
        longest_first = sorted(self.words, key=len, reverse=True)
        self.pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")

    def of(self, phrase: str) -> list[str]:
        """All equivalents of a phrase, lower case."""
        phrase = phrase.lower()
        equivalents = []
        for match in self.pattern.finditer(phrase):
            for other in self.words[match.group()]:
                before = with_article(phrase[: match.start()], other)
                equivalents.append(f"{before}{other}{phrase[match.end() :]}")
        if equivalents or not self.articles:
            return equivalents
        article, _, rest = phrase.partition(" ")
        if article in {"a", "an"} and rest:
            return [f"the {rest}"]
        if article == "the" and rest:
            return [f"{with_article('a ', rest)}{rest}"]
        return []

    def draw(self, phrase: str) -> str | None:
        """One of its equivalents, each equally likely; None if there is none."""
        equivalents = self.of(phrase)
        if not equivalents:
            return None
        return equivalents[int(torch.randint(len(equivalents), ()))]


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """Each word of a list and the others that mean the same.

    Raises:
        ModelError: no such file, or it has no line of two words.
    """
    path = project_file(path)
    if not path.is_file():
        raise ModelError(f"no list of synonyms at {path.absolute()}: set --model.synonyms, or leave it out.")
    words: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        group = _words_of(line)
        for word in group:
            words.setdefault(word, []).extend(other for other in group if other != word)
    if not words:
        raise ModelError(f"{path} names no synonyms: write some, with commas between them, in each line.")
    return words


def _words_of(line: str) -> list[str]:
    words: Iterable[str] = (word.strip().lower() for word in line.partition("#")[0].split(","))
    group = [word for word in words if word]
    return group if len(group) > 1 else []


def with_article(before: str, word: str) -> str:
    """What stands before a word, with "a" or "an" at its end as the word asks for it.

    Example:
        >>> with_article("on an ", "bike"), with_article("a ", "old bike"), with_article("the ", "bike")
        ('on a ', 'an ', 'the ')
    """
    article = "an" if word.startswith(VOWELS) else "a"
    return re.sub(r"\ban? $", f"{article} ", before)
