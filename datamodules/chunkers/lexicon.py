"""The tag of an English word, before its neighbours are looked at.

One character a tag, so that a caption becomes a string and a noun phrase a regular expression (``rules.py``):

=====  =====================================================
D M    determiner or possessive pronoun; numeral
J K    adjective; adjective that can stand for a noun ("in red")
N      noun, and every word that is in no list
S O    the token 's; the word "of"
C      and, or
P      preposition
B      adverb
V      verb beyond doubt, auxiliary, modal
X      pronoun, conjunction, interjection: never in a noun phrase
, .    comma; any other punctuation
G E    -ing form; -ed form or other participle: their neighbours decide
u U    verb rather than noun, in the -s form and in the base form: likewise
w W    noun rather than verb, in the -s form and in the base form: likewise
=====  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from datamodules.chunkers.words import adjectives, function_words, nouns, verbs

_MODIFIER_ENDINGS = ("ed", "ing", "-old", "-sleeve", "-hair", "-style", "-like", "-size", "clad")
_ADJECTIVE_ENDINGS = ("ful", "less", "ous", "able", "ible", "ish")
_POSSESSIVE_ENDINGS = ("'s", "s'", "\u2019s", "s\u2019")


@lru_cache(maxsize=1 << 16)
def tag(word: str) -> str:
    """The tag of a word; a word that is in no list goes by its ending.

    Args:
        word: lower case, without punctuation, not empty.

    Example:
        >>> tag("dog"), tag("striped"), tag("walking"), tag("walks")
        ('N', 'J', 'G', 'u')
    """
    listed = _TAGS.get(word)
    if listed:
        return listed
    if word[0].isdigit():
        return "J" if word.endswith("old") else "M"
    if "-" in word and word.endswith(_MODIFIER_ENDINGS):
        return "J"
    if word.endswith(_POSSESSIVE_ENDINGS):
        return "J"
    if len(word) > 4:
        if word.endswith("ly"):
            return "J" if word in adjectives.ADJECTIVES_IN_LY else "B"
        if word.endswith("ing"):
            return "G"
        if word.endswith("ed"):
            return "E"
        if word.endswith(_ADJECTIVE_ENDINGS) and word not in adjectives.NOUNS_IN_ABLE_OR_ISH:
            return "J"
    return "N"


def plural(noun: str) -> bool:
    """Whether a noun looks like a plural."""
    if noun in nouns.IRREGULAR_PLURALS:
        return True
    return noun.endswith("s") and noun not in nouns.SINGULAR_IN_S and not noun.endswith(("ss", "us"))


def _listed_tags() -> dict[str, str]:
    """The tags of all words of the lists and of their inflected forms.

    Later lines overrule earlier ones: the closed classes come last.
    """
    tags: dict[str, str] = {}

    def add(words: Iterable[str], word_tag: str) -> None:
        tags.update(dict.fromkeys(words, word_tag))

    _add_verbs(tags, verbs.VERBS, "V", "V")
    _add_verbs(tags, verbs.RATHER_VERBS, "U", "u")
    _add_verbs(tags, verbs.RATHER_NOUNS - verbs.RATHER_VERBS, "W", "w")
    add(verbs.IRREGULAR_PAST, "V")
    add(verbs.IRREGULAR_PARTICIPLES, "E")
    add(nouns.NOUNS_IN_ING | nouns.NOUNS_IN_ED | nouns.NOUNS_IN_LY, "N")
    add(nouns.SINGULAR_IN_S - verbs.RATHER_VERBS, "N")
    add(nouns.PLURAL_ONLY | nouns.IRREGULAR_PLURALS, "N")
    add(nouns.AMBIGUOUS_ING_NOUNS, "G")
    add((degree for adjective in adjectives.GRADED for degree in _degrees(adjective)), "J")
    add(function_words.ADVERBS, "B")
    add(adjectives.ADJECTIVES, "J")
    add(adjectives.COLOURS | adjectives.NOMINAL_ADJECTIVES, "K")
    add(function_words.PREPOSITIONS, "P")
    add(function_words.PRONOUNS | function_words.CONNECTIVES, "X")
    add(function_words.AUXILIARIES, "V")
    add(function_words.NUMERALS, "M")
    add(function_words.DETERMINERS, "D")
    add(("and", "or", "&"), "C")
    add(("of",), "O")
    add(("wearing",), "P")  # a preposition in all but name
    add(("'s", "\u2019s", "'"), "S")
    return tags


def _add_verbs(tags: dict[str, str], base_forms: Iterable[str], base_tag: str, s_tag: str) -> None:
    for base in base_forms:
        s_form, ing_form, ed_form = _inflect(base)
        tags.update({base: base_tag, s_form: s_tag, ing_form: "G", ed_form: "E"})


def _inflect(verb: str) -> tuple[str, str, str]:
    """The -s, -ing and -ed forms of a verb by the spelling rules."""
    consonant_y = verb.endswith("y") and verb[-2] not in "aeiou"
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        s_form = verb + "es"
    elif consonant_y:
        s_form = verb[:-1] + "ies"
    else:
        s_form = verb + "s"
    if verb.endswith("ie"):
        return s_form, verb[:-2] + "ying", verb + "d"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return s_form, verb[:-1] + "ing", verb + "d"
    stem = verb
    if _doubles_its_end(verb):
        stem += verb[-1]
    if consonant_y:
        ed_form = verb[:-1] + "ied"
    elif verb.endswith("e"):
        ed_form = verb + "d"
    else:
        ed_form = stem + "ed"
    return s_form, stem + "ing", ed_form


def _doubles_its_end(verb: str) -> bool:
    """Whether a verb doubles its last consonant, as "stop" does in "stopping"."""
    if not 2 < len(verb) < 6:
        return False
    return verb[-1] not in "wxyaeiou" and verb[-2] in "aeiou" and verb[-3] not in "aeiou"


def _degrees(adjective: str) -> tuple[str, str]:
    """Comparative and superlative."""
    stem = adjective.removesuffix("e")
    if adjective.endswith("y"):
        stem = adjective[:-1] + "i"
    elif adjective in adjectives.DOUBLING:
        stem += adjective[-1]
    return stem + "er", stem + "est"


_TAGS = _listed_tags()
