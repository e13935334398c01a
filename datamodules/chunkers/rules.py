"""Noun phrases of English image captions by hand-made rules: no model, no download, tens of thousands of
captions a second and core.

Three steps. Every word gets a tag from the lexicon; the tags that are open (-ing and -ed forms, words that
are both noun and verb) are decided by their neighbours, left to right; a regular expression over the string
of tags finds the noun phrases.

The phrases follow the convention of Flickr30k Entities: a base noun phrase with its determiner and modifiers
    ("a small girl"), coordinated nouns
apart ("a man", "a woman"), coordinated adjectives together ("a black and white dog"), possessives inside ("a
man 's hat"), and "X of Y" as one phrase ("a group of people", "the side of a wall").

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

from datamodules.batches import Phrase
from datamodules.chunkers import lexicon
from datamodules.chunkers.base import PUNCTUATION, Chunker, phrase_text

# No phrase is longer than a few times this many words, and no decision looks further back: the time stays
# linear in the caption's length.
_REACH = 12
_MODIFIERS = f"(?:B(?=[JK])|[JKN]|(?<!N)M|(?<=[JK])(?:,?C|,)(?=[JK])){{0,{_REACH}}}"
_BASE = f"D{{0,3}}{_MODIFIERS}N(?:S{_MODIFIERS}N)*"
_COLOUR = "(?:[DM]{1,3}|(?<=P))J{0,6}K(?:,?C?K){0,6}(?![JKN])"
_NOUN_PHRASE = re.compile(f"(?:D?[MD]O)?{_BASE}(?:O{_BASE})*|{_COLOUR}")

_NOMINAL = frozenset("NJKMEGUuWwS")  # what may follow a modifier
_OPEN = frozenset("DMJKS")  # after these, a noun is still to come
_COMPLEMENT = frozenset("DPBM,.XC")  # what follows a verb rather than a modifying noun


@cache
def _source_digest() -> str:
    """Changes with every change of the rules or the words, so that no version number can be forgotten."""
    sources = (Path(__file__), Path(lexicon.__file__))
    return hashlib.sha1(
        b"".join(source.read_bytes() for source in sources), usedforsecurity=False
    ).hexdigest()[:10]


class RuleChunker(Chunker):
    """The default chunker. Captions are English; other languages give whole runs of words as phrases.

    Args:
        drop_settings: leave out phrases that name no object ("the background", "the air", "a time"), as an
            object-centric parser does.
    """

    def __init__(self, drop_settings: bool = True) -> None:
        self.drop_settings = drop_settings

    @property
    def fingerprint(self) -> str:
        return f"rules-{_source_digest()}(drop_settings={self.drop_settings})"

    def __call__(self, captions: Sequence[str]) -> list[list[Phrase]]:
        return [self._chunk(caption.split()) for caption in captions]

    def _chunk(self, tokens: list[str]) -> list[Phrase]:
        words, origin, tags = slots(tokens)
        string = "".join(resolve(words, tags))
        phrases = []
        for match in _NOUN_PHRASE.finditer(string):
            first, last = match.span()
            head = head_slot(words, string, first, last)
            if self.drop_settings and last - first <= 2 and words[head] in lexicon.SETTINGS:
                continue  # names no object
            start, end = origin[first], origin[last - 1] + 1
            phrases.append(Phrase(phrase_text(tokens, start, end), subject(words, string, head), start, end))
        return phrases


def head_noun(phrase: str) -> str:
    """The subject of a text that is known to be one noun phrase: by the rules, or its last word where they
    find none. "" for no words.
    """
    found = RuleChunker(drop_settings=False)([phrase])[0]
    if found:
        return found[0].subject
    words = phrase.lower().split()
    return words[-1].strip(PUNCTUATION) if words else ""


def slots(tokens: Sequence[str]) -> tuple[list[str], list[int], list[str]]:
    """Splits punctuation off the tokens: lower-case words, the token that each comes from, and the lexicon's
    tag of each.

    "dog," becomes two slots of one token, so that a phrase cannot run over the comma unnoticed.
    """
    words: list[str] = []
    origin: list[int] = []
    tags: list[str] = []

    def add(word: str, tag: str, token: int) -> None:
        words.append(word)
        tags.append(tag)
        origin.append(token)

    for i, token in enumerate(tokens):
        if token.isalpha():
            word = token.lower()
            add(word, lexicon.tag(word), i)
            continue
        if token in {"'s", "\u2019s", "'"}:
            add(token, "S", i)
            continue
        plural_possessive = token.endswith(("s'", "s\u2019")) and token[0] not in PUNCTUATION
        word = token.lower() if plural_possessive else token.strip(PUNCTUATION).lower()
        if not word:
            add(token, "," if token == "," else ".", i)
            continue
        if token[0] in PUNCTUATION:
            add(token[0], ".", i)
        add(word, "." if word in {"-", "--"} else lexicon.tag(word), i)
        if token[-1] in PUNCTUATION and not plural_possessive:
            add(token[-1], "," if token[-1] == "," else ".", i)
    return words, origin, tags


def resolve(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """Decides the open tags (G E U u W w) by their neighbours, left to right; one closed tag for each word."""
    closed: list[str] = []
    # Of the clause so far: a finite verb was met; a subject that takes a verb without -s was met.
    verb_seen = plural_subject = False
    last = len(words) - 1
    for i, tag in enumerate(tags):
        before = closed[-1] if i else "."
        after = tags[i + 1] if i < last else "."
        if tag in "GE":
            if before == "K" and not _determined(closed):
                before = "N"  # "in red walking", unlike "a red flowing dress"
            next_word = words[i + 1] if i < last else ""
            tag = (
                _ing(words[i], before, after, next_word)
                if tag == "G"
                else _participle(words[i], before, after)
            )
        elif tag in "UuWw":
            tag = _noun_or_verb(tag, words, closed, after, verb_seen, plural_subject)
        elif tag == "D" and after in "PV.,XC" and words[i] not in lexicon.ARTICLES:
            tag = "X"  # a pronoun after all: "looks at her ."
        elif tag == "V" and before == "D":
            tag = "N"  # "a can"
        elif tag == "B" and before in _OPEN and after not in "JKEBGM":
            tag = "N"  # "his back"
        elif words[i] == "other" and i and words[i - 1] == "each":
            tag = closed[-1] = "X"
        elif words[i] in {"front", "top", "back"} and before == "P" and after == "O":
            tag = "P"  # "in front of" is a preposition
        elif tag == "O" and before == "P":
            tag = "P"
        if tag == "V":
            verb_seen = verb_seen or tags[i] not in "GE"
        elif tag in ".X":
            verb_seen = plural_subject = False
        elif (tag == "N" and (lexicon.plural(words[i]) or words[i] in lexicon.COLLECTIVES)) or (
            tag == "C" and after in "DMN"
        ):
            plural_subject = not verb_seen
        closed.append(tag)
    return closed


def _determined(closed: Sequence[str]) -> bool:
    """Does the run of adjectives at the end follow a determiner or a numeral?"""
    return "".join(closed[-_REACH:]).rstrip("JKC,B").endswith(("D", "M"))


def _ing(word: str, before: str, after: str, next_word: str) -> str:
    """Modifier ("a smiling man", "bathing suits"), noun ("a painting") or verb ("a man walking")."""
    if before in _OPEN:
        return "J" if after in _NOMINAL else "V" if before == "M" else "N"
    if word == "looking" and after in "NJK":
        return "J"  # "funny looking"
    if word in lexicon.GERUND_MODIFIERS and next_word in lexicon.GERUND_HEADS:
        return "V" if before in "NVX" and next_word in lexicon.GERUND_OBJECTS else "J"
    if word in lexicon.ADJECTIVAL_ING and before in "PC.," and after in "NJKWw":
        return "J"
    return "N" if before == "P" and after in "P.," and word in lexicon.AMBIGUOUS_ING_NOUNS else "V"


def _participle(word: str, before: str, after: str) -> str:
    """Modifier ("a painted wall", "a tree lined street") or verb ("a man dressed in black")."""
    if after not in _NOMINAL:
        return "V"
    if before == "N":
        return "J" if word in lexicon.COMPOUND_ED else "V"
    return "V" if before == "X" else "J"


def _noun_or_verb(
    tag: str, words: Sequence[str], closed: Sequence[str], after: str, verb_seen: bool, plural_subject: bool
) -> str:
    """U and u are verbs rather than nouns, W and w the other way about; the small letters end in -s."""
    before, previous = (closed[-1], words[len(closed) - 1]) if closed else (".", "")
    verby, s_form = tag in "Uu", tag in "uw"
    if before in "DJSM":
        verb = s_form and previous == "another"  # "another paints"
    elif before in "KN":
        verb = _verb_after_noun(tag, words, closed, after, verb_seen, plural_subject)
    elif previous in lexicon.BASE_FORM_FOLLOWS:
        verb = not s_form and (verby or after == "D")
    elif before == "X":
        verb = verby or after == "D"
    elif before == "B":
        verb = verby and after in _COMPLEMENT
    elif before == "C":
        verb = (verb_seen and after in ("DPBX" if verby else "D")) or (
            verby and closed[-2:-1] in (["V"], ["B"], ["P"])
        )
    elif before in ".,":
        verb = verby and (after in "DPB" or (s_form and len(closed) > 0 and after in ".,"))
    else:  # a preposition or a verb, whose object this is
        verb = False
    return "V" if verb else "N"


def _verb_after_noun(
    tag: str, words: Sequence[str], closed: Sequence[str], after: str, verb_seen: bool, plural_subject: bool
) -> bool:
    """Is this the verb of the noun before it ("a man jumps"), or does it continue a compound ("two ski
    jumps", "a dance floor")?
    """
    i = len(closed)
    previous = words[i - 1]
    if closed[-1] == "K":
        return tag in "Uu" and after in "PDB.," and not _determined(closed)
    many = lexicon.plural(previous)
    first = i - 1
    while first > max(0, i - _REACH) and closed[first - 1] in "DMJKN":
        first -= 1
    quantified = any(word in lexicon.QUANTITIES for word in words[first:i])
    if tag == "u":
        bare = closed[first] != "D"
        return many or not (quantified or (bare and verb_seen and after not in "DP"))
    if tag == "w":
        if many:
            return after in "DP"
        return not quantified and (
            previous in lexicon.ANIMATE or (words[first] in {"a", "an"} and after in "DPB")
        )
    if tag == "U":
        in_place = first > 0 and closed[first - 1] == "P" and after in ".,"  # "on a tire swing ."
        return many or after == "D" or (plural_subject and not in_place)
    return (many and not verb_seen and after in "DPB") or (plural_subject and after == "D")


def head_slot(words: Sequence[str], tags: str, first: int, last: int) -> int:
    """Index of the head noun of the phrase in slots ``first:last``: of "X of Y" that of Y where X only
    counts, packs, pictures or places Y.
    """
    start = first
    while True:
        of = tags.find("O", start, last)
        head = (of if of >= 0 else last) - 1
        if of < 0 or not (tags[head] in "MD" or words[head] in lexicon.TRANSPARENT):
            return head
        start = of + 1


def subject(words: Sequence[str], tags: str, head: int) -> str:
    """The head noun, lower case; two words where the last alone would name another thing ("teddy bear")."""
    if head and tags[head - 1] in "NJ":
        pair = f"{words[head - 1]} {words[head]}"
        if pair in lexicon.COMPOUNDS:
            return pair
    return words[head]
