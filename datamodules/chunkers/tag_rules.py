"""Rules that decide, by its neighbours, what an ambiguous word is: a noun, a modifier or a verb.

The tags are those of ``lexicon.py``. Open tags (G E U u W w) are ambiguous, all others are closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.chunkers import lexicon
from datamodules.chunkers.words import function_words, nouns, verbs

# No phrase is longer than a few times this many words, and no decision looks further back: the time stays
# linear in the caption's length.
MAX_DISTANCE = 12

_NOMINAL = frozenset("NJKMEGUuWwS")  # what may follow a modifier
_OPEN = frozenset("DMJKS")  # after these, a noun is still to come
_COMPLEMENT = frozenset("DPBM,.XC")  # what follows a verb rather than a modifying noun
_SETTLED = frozenset("NJKMSCPX,.")  # tags that their neighbours do not change, save for the exceptions
_EXCEPTIONS = frozenset({"other", "front", "top", "back"})


@dataclass(slots=True)
class _Clause:
    """What is known of the clause so far.

    Args:
        verb_seen: a finite verb was met.
        plural_subject: a subject that takes a verb without -s was met.
    """

    verb_seen: bool = False
    plural_subject: bool = False


def close_tags(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """Decides the open tags, left to right.

    Args:
        words: of a caption, lower case.
        tags: the lexicon's tag of each.

    Returns:
        One closed tag for each word.

    Example:
        >>> close_tags(["a", "smiling", "man", "walks"], ["D", "G", "N", "u"])
        ['D', 'J', 'N', 'V']
    """
    closed: list[str] = []
    clause = _Clause()
    for i, open_tag in enumerate(tags):
        tag = _closed_tag(words, tags, closed, clause)
        if tag == "V":
            clause.verb_seen = clause.verb_seen or open_tag not in "GE"
        elif tag in ".X":
            clause.verb_seen = False
            clause.plural_subject = False
        elif tag == "N":
            if lexicon.plural(words[i]) or words[i] in nouns.COLLECTIVES:
                clause.plural_subject = not clause.verb_seen
        elif tag == "C" and _after(tags, i) in "DMN":
            clause.plural_subject = not clause.verb_seen
        closed.append(tag)
    return closed


def _after(tags: Sequence[str], i: int) -> str:
    """The tag behind slot ``i``; the end of a caption counts as a full stop."""
    return tags[i + 1] if i + 1 < len(tags) else "."


def _closed_tag(words: Sequence[str], tags: Sequence[str], closed: list[str], clause: _Clause) -> str:
    """The closed tag of the first word that has none yet.

    Args:
        words, tags: as for `close_tags`.
        closed: closed tags of the words before.
        clause: what is known of the clause before.
    """
    i = len(closed)
    tag = tags[i]
    word = words[i]
    if tag in _SETTLED and word not in _EXCEPTIONS:
        return tag
    before = closed[-1] if closed else "."
    after = _after(tags, i)
    if tag == "G":
        next_word = words[i + 1] if i + 1 < len(words) else ""
        return _close_ing(word, _noun_or_colour(closed, before), after, next_word)
    if tag == "E":
        return _close_participle(word, _noun_or_colour(closed, before), after)
    if tag in "UuWw":
        return "V" if _is_verb(tag, words, closed, after, clause) else "N"
    if tag == "D" and after in "PV.,XC" and word not in function_words.ARTICLES:
        return "X"  # a pronoun after all: "looks at her ."
    if tag == "V" and before == "D":
        return "N"  # "a can"
    if tag == "B" and before in _OPEN and after not in "JKEBGM":
        return "N"  # "his back"
    if word == "other" and i and words[i - 1] == "each":
        closed[-1] = "X"  # "each other" is a pronoun
        return "X"
    if word in {"front", "top", "back"} and before == "P" and after == "O":
        return "P"  # "in front of" is a preposition
    if tag == "O" and before == "P":
        return "P"
    return tag


def _noun_or_colour(closed: Sequence[str], before: str) -> str:
    """Takes a colour without a determiner for a noun: "in red walking", unlike "a red flowing dress"."""
    if before == "K" and not _is_determined(closed):
        return "N"
    return before


def _is_determined(closed: Sequence[str]) -> bool:
    """Whether the run of adjectives at the end follows a determiner or a numeral."""
    return "".join(closed[-MAX_DISTANCE:]).rstrip("JKC,B").endswith(("D", "M"))


def _close_ing(word: str, before: str, after: str, next_word: str) -> str:
    """Modifier ("a smiling man", "bathing suits"), noun ("a painting") or verb ("a man walking")."""
    if before in _OPEN:
        if after in _NOMINAL:
            return "J"
        return "V" if before == "M" else "N"
    if word == "looking" and after in "NJK":
        return "J"  # "funny looking"
    if word in verbs.GERUND_MODIFIERS and next_word in verbs.GERUND_HEADS:
        has_object = before in "NVX" and next_word in verbs.GERUND_OBJECTS
        return "V" if has_object else "J"
    if word in verbs.ADJECTIVAL_ING and before in "PC.," and after in "NJKWw":
        return "J"
    if word in nouns.AMBIGUOUS_ING_NOUNS and before == "P" and after in "P.,":
        return "N"
    return "V"


def _close_participle(word: str, before: str, after: str) -> str:
    """Modifier ("a painted wall", "a tree lined street") or verb ("a man dressed in black")."""
    if after not in _NOMINAL or before == "X":
        return "V"
    if before == "N":
        return "J" if word in verbs.COMPOUND_ED else "V"
    return "J"


def _is_verb(tag: str, words: Sequence[str], closed: Sequence[str], after: str, clause: _Clause) -> bool:
    """Whether a word that is both noun and verb is a verb here.

    U and u are verbs rather than nouns, W and w the other way about; the small letters end in -s.
    """
    before = closed[-1] if closed else "."
    previous = words[len(closed) - 1] if closed else ""
    rather_verb = tag in "Uu"
    ends_in_s = tag in "uw"
    if before in "DJSM":
        return ends_in_s and previous == "another"  # "another paints"
    if before in "KN":
        return _is_verb_after_noun(tag, words, closed, after, clause)
    if previous in function_words.BASE_FORM_FOLLOWS:
        return not ends_in_s and (rather_verb or after == "D")
    if before == "X":
        return rather_verb or after == "D"
    if before == "B":
        return rather_verb and after in _COMPLEMENT
    if before == "C":
        if not rather_verb:
            return clause.verb_seen and after == "D"
        return (clause.verb_seen and after in "DPBX") or (len(closed) > 1 and closed[-2] in "VBP")
    if before in ".,":
        return rather_verb and (after in "DPB" or (ends_in_s and len(closed) > 0 and after in ".,"))
    return False  # the object of a preposition or a verb


def _is_verb_after_noun(
    tag: str, words: Sequence[str], closed: Sequence[str], after: str, clause: _Clause
) -> bool:
    """Whether this is the verb of the noun before it ("a man jumps"), or continues a compound ("two ski
    jumps", "a dance floor").
    """
    i = len(closed)
    previous = words[i - 1]
    if closed[-1] == "K":
        return tag in "Uu" and after in "PDB.," and not _is_determined(closed)
    many = lexicon.plural(previous)
    first = i - 1
    while first > max(0, i - MAX_DISTANCE) and closed[first - 1] in "DMJKN":
        first -= 1
    quantified = any(word in function_words.QUANTITIES for word in words[first:i])
    if tag == "u":
        bare = closed[first] != "D"
        return many or not (quantified or (bare and clause.verb_seen and after not in "DP"))
    if tag == "w":
        if many:
            return after in "DP"
        single = words[first] in {"a", "an"} and after in "DPB"
        return not quantified and (previous in nouns.ANIMATE or single)
    if tag == "U":
        in_place = first > 0 and closed[first - 1] == "P" and after in ".,"  # "on a tire swing ."
        return many or after == "D" or (clause.plural_subject and not in_place)
    return (many and not clause.verb_seen and after in "DPB") or (clause.plural_subject and after == "D")
