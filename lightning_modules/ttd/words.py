"""Which words of a caption are candidates for a tag: all that are neither stop words nor punctuation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# The English stop words of NLTK 3, as they are customary.
_STOP_WORDS = """
    i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself yourselves he him
    his himself she she's her hers herself it it's its itself they them their theirs themselves what which who
    whom this that that'll these those am is are was were be been being have has had having do does did doing
    a an the and but if or because as until while of at by for with about against between into through during
    before after above below to from up down in out on off over under again further then once here there when
    where why how all any both each few more most other some such no nor not only own same so than too very s
    t can will just don don't should should've now d ll m o re ve y ain aren aren't couldn couldn't didn
    didn't doesn doesn't hadn hadn't hasn hasn't haven haven't isn isn't ma mightn mightn't mustn mustn't
    needn needn't shan shan't shouldn shouldn't wasn wasn't weren weren't won won't wouldn wouldn't
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


class Candidates(NamedTuple):
    """The candidates of a caption.

    Args:
        texts: each different candidate once, in lower case, in the order of the caption.
        text_of_word: for each word of the caption its place in ``texts``; -1 if it is no candidate.
    """

    texts: list[str]
    text_of_word: list[int]


def candidates(words: Sequence[str], stop_words: frozenset[str] = STOP_WORDS) -> Candidates:
    """The candidates among the words of a caption.

    If nothing but stop words is left, they are candidates themselves.

    Args:
        words: of the caption, split at blanks.
        stop_words: in lower case.

    Example:
        >>> candidates("A dog , the dog 's tail".split())
        Candidates(texts=['dog', "'s", 'tail'], text_of_word=[-1, 0, -1, -1, 0, 1, 2])
        >>> candidates(["to", "be", "!"]).texts
        ['to', 'be']
    """
    lowered = [word.lower() for word in words]
    spoken = [word for word in lowered if any(letter.isalnum() for letter in word)]
    chosen = [word for word in spoken if word not in stop_words] or spoken
    place_of_text = {text: place for place, text in enumerate(dict.fromkeys(chosen))}
    return Candidates(list(place_of_text), [place_of_text.get(word, -1) for word in lowered])
