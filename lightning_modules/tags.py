"""Which words of a caption may be tags, how well they fit its image, and which of them are selected.

Candidates for a tag are all words that are neither stop words nor punctuation.

Legend: T candidates of a caption, L pixels or places of its image, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import punctuation
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.capabilities import ScoredWords, TagScore

# From a kind and the (T,) scores of candidates to their final scores, and (T,) bool, which are selected.
Decide = Callable[[TagScore, Tensor], tuple[Tensor, Tensor]]

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

    Punctuation at either end of a word does not belong to it. If nothing but stop words is left, they are
    candidates themselves.

    Args:
        words: of the caption, split at blanks.
        stop_words: in lower case.

    Example:
        >>> candidates("A dog , the dog 's tail".split())
        Candidates(texts=['dog', 'tail'], text_of_word=[-1, 0, -1, -1, 0, -1, 1])
        >>> candidates(["to", "be", "!"]).texts
        ['to', 'be']
    """
    bare = [word.lower().strip(punctuation) for word in words]
    spoken = [word for word in bare if any(letter.isalnum() for letter in word)]
    chosen = [word for word in spoken if word not in stop_words] or spoken
    place_of_text = {text: place for place, text in enumerate(dict.fromkeys(chosen))}
    return Candidates(list(place_of_text), [place_of_text.get(word, -1) for word in bare])


def select_by_largest_gap(scores: Tensor) -> Tensor:
    """Sorts scores and cuts at the largest gap between neighbours; what is above is selected.

    The first of several equal gaps is taken, and equal scores keep their order; a single score is selected.

    Args:
        scores: (T,).

    Returns:
        (T,) bool, at least one of them true if there is any score.

    Example:
        >>> select_by_largest_gap(torch.tensor([0.31, 0.12, 0.29, 0.1])).tolist()
        [True, False, True, False]
    """
    selected = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    ranked, order = scores.sort(descending=True, stable=True)
    gaps = ranked[:-1] - ranked[1:]
    count = int(gaps.argmax()) + 1 if len(gaps) else 1
    selected[order[:count]] = True
    return selected


class Vectors(NamedTuple):
    """An image, its caption, and the candidates in it as vectors of one space, of length 1.

    Args:
        pixels: (L,D).
        caption: (D,).
        tags: (T,D).
    """

    pixels: Tensor
    caption: Tensor
    tags: Tensor


def tag_scores(vectors: Vectors, kind: TagScore) -> Tensor:
    """(T,) scores of the candidates, see `lightning_modules.capabilities.TagScore`."""
    if kind == "image":
        return vectors.tags @ F.normalize(vectors.pixels.mean(0), dim=0)
    if kind == "text":
        return vectors.tags @ vectors.caption
    cosines = vectors.tags @ vectors.pixels.T
    if kind == "pixel":
        return cosines.amax(1)
    return cosines.argmax(0).bincount(minlength=len(vectors.tags)) / vectors.pixels.shape[0]


def score_words(
    words: Sequence[str],
    pixels: Tensor,
    kinds: Sequence[TagScore],
    encode_texts: Callable[[Sequence[str]], Tensor],
    decide: Decide | None = None,
) -> dict[TagScore, ScoredWords]:
    """Scores the words of a caption; those that are no candidates get ``-inf``.

    Args:
        words: of the caption.
        pixels: (L,D) vectors of the image's pixels or places, of length 1.
        kinds: of the scores.
        encode_texts: M texts -> (M,D) vectors of length 1.
        decide: makes the final scores of cosines or shares, and selects; by default the scores stay, and
            those above the largest gap are selected.
    """
    chosen = candidates(words)
    if not chosen.texts:
        nothing = torch.full((len(words),), -torch.inf, device=pixels.device)
        return dict.fromkeys(kinds, ScoredWords(nothing, torch.zeros_like(nothing, dtype=torch.bool)))
    vectors = Vectors(pixels, encode_texts([" ".join(words)])[0], encode_texts(chosen.texts))
    text_of_word = torch.tensor(chosen.text_of_word, dtype=torch.long, device=pixels.device)
    is_candidate = text_of_word >= 0
    scored: dict[TagScore, ScoredWords] = {}
    for kind in kinds:
        scores = tag_scores(vectors, kind)
        selected = select_by_largest_gap(scores)
        if decide is not None:
            scores, selected = decide(kind, scores)
        scored[kind] = ScoredWords(
            torch.where(is_candidate, scores[text_of_word], -torch.inf),
            is_candidate & selected[text_of_word],
        )
    return scored


def score_captions(
    captions: Sequence[Sequence[str]],
    pixels: Tensor,
    kinds: Sequence[TagScore],
    encode_texts: Callable[[Sequence[str]], Tensor],
    decide: Decide | None = None,
) -> dict[TagScore, list[ScoredWords]]:
    """`score_words` for each caption, by kinds.

    Args:
        captions: N of them, as words.
        pixels: (N,L,D), of their images.
        kinds: of the scores.
        encode_texts: as for `score_words`.
        decide: as for `score_words`.
    """
    scored: dict[TagScore, list[ScoredWords]] = {kind: [] for kind in kinds}
    for words, own_pixels in zip(captions, pixels, strict=True):
        for kind, scored_words in score_words(words, own_pixels, kinds, encode_texts, decide).items():
            scored[kind].append(scored_words)
    return scored
