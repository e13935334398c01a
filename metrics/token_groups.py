"""The baselines of phrase segmentation: groups of a caption's tokens that come from no model of groups.

Every function gives a label for each of T tokens. Those on vectors cluster the (T,W) hidden states of some
text encoder, one caption at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

# Prepositions, conjunctions and auxiliaries, which open a new part of an English caption.
_OPENING = """
about above across after against along alongside amid among and are around as at atop away be because been
before behind being below beneath beside besides between beyond but by down during for from has have having if
in inside into is like near off on onto or out outside over past so than that through to toward towards under
underneath up upon was were what when where which while who with within without
"""
FUNCTION_WORDS = frozenset(_OPENING.split())


def one_group(tokens: int) -> list[int]:
    """All tokens together."""
    return [0] * tokens


def singletons(tokens: int) -> list[int]:
    """Every token by itself."""
    return list(range(tokens))


def random_groups(tokens: int, groups: int, rng: np.random.Generator) -> list[int]:
    """Each token in any of the groups."""
    return rng.integers(groups, size=tokens).tolist()


def equal_pieces(tokens: int, groups: int) -> list[int]:
    """Pieces of consecutive tokens, as equal in length as can be.

    Example:
        >>> equal_pieces(5, groups=2)
        [0, 0, 0, 1, 1]
    """
    return [token * groups // tokens for token in range(tokens)]


def pieces_at(opens: Sequence[bool]) -> list[int]:
    """Pieces of consecutive tokens, a new one wherever ``opens`` is true.

    Example:
        >>> pieces_at([False, True, False, True])
        [0, 1, 1, 2]
    """
    return np.cumsum(np.asarray(opens, dtype=int)).tolist()


def function_word_pieces(words: Sequence[str]) -> list[int]:
    """Pieces of consecutive words, a new one at each function word and after each punctuation mark.

    Example:
        >>> function_word_pieces(["A", "man", "in", "a", "hat"])
        [0, 0, 1, 1, 1]
    """
    lower = [word.lower() for word in words]
    opens = [False] if words else []
    for previous, word in pairwise(lower):
        opens.append(word in FUNCTION_WORDS or not previous[-1:].isalnum())
    return pieces_at(opens)


def find_openers(captions: Iterable[Sequence[str]], count: int) -> list[str]:
    """The words that open a new part of a caption, found in captions alone: frequent ones that stand after
    words of many kinds.

    A word that occurs n times, after words whose entropy is H, scores log n + H. In English the words of the
    highest score are prepositions, conjunctions, articles and auxiliaries, which nobody had to list. First
    words of captions do not count, and letters' case is ignored.

    Args:
        captions: each as words.
        count: how many words to take.

    Returns:
        The words, lower case, of the highest score first.
    """
    pair_counts: Counter[tuple[str, str]] = Counter()
    for words in captions:
        pair_counts.update(pairwise(word.lower() for word in words))
    word_counts: Counter[str] = Counter()
    for (_, word), count_of_pair in pair_counts.items():
        word_counts[word] += count_of_pair
    # log n + H = log n - sum p log p over what stands before the word.
    scores = {word: float(np.log(n)) for word, n in word_counts.items()}
    for (_, word), count_of_pair in pair_counts.items():
        share = count_of_pair / word_counts[word]
        scores[word] -= share * float(np.log(share))
    return sorted(scores, key=lambda word: (-scores[word], word))[:count]


def opener_pieces(words: Sequence[str], openers: Iterable[str]) -> list[int]:
    """Pieces of consecutive words, a new one at each opener that follows a word that is none.

    Example:
        >>> opener_pieces(["A", "man", "in", "a", "hat"], openers=["in", "a"])
        [0, 0, 1, 1, 1]
    """
    opener_set = frozenset(openers)
    is_opener = [word.lower() in opener_set for word in words]
    opens = [False] if words else []
    for previous, opener in pairwise(is_opener):
        opens.append(opener and not previous)
    return pieces_at(opens)


def joined_by_place(pieces: Sequence[int], groups: int) -> list[int]:
    """Pieces of consecutive tokens joined to at most ``groups``: each goes where its middle falls if the
    caption is cut into equal parts.

    Example:
        >>> joined_by_place([0, 0, 1, 1, 1, 2, 2, 3], groups=2)
        [0, 0, 0, 0, 0, 1, 1, 1]
    """
    labels = np.asarray(pieces)
    middles = {piece: np.flatnonzero(labels == piece).mean() + 0.5 for piece in set(pieces)}
    return [int(middles[piece] * groups / len(pieces)) for piece in pieces]


def span_groups(words: int, spans: Sequence[tuple[int, int]]) -> list[int]:
    """The words of each span (end exclusive) together, and those between two spans together.

    Example:
        >>> span_groups(5, [(0, 2), (3, 5)])
        [1, 1, 2, 3, 3]
    """
    edges = {edge for span in spans for edge in span}
    return pieces_at([n in edges for n in range(words)])


def of_words(groups: Sequence[int], word_of_token: Sequence[int]) -> list[int]:
    """Groups of words -> groups of the words' tokens.

    Example:
        >>> of_words([5, 6], word_of_token=[0, 0, 1])
        [5, 5, 6]
    """
    return [groups[word] for word in word_of_token]


def k_means(vectors: np.ndarray, groups: int, seed: int = 0) -> list[int]:
    """k-means with ten starts; with no more tokens than groups, singletons."""
    from sklearn.cluster import KMeans

    if len(vectors) <= groups:
        return singletons(len(vectors))
    return KMeans(groups, n_init=10, random_state=seed).fit_predict(vectors).tolist()


def spectral(vectors: np.ndarray, groups: int, seed: int = 0) -> list[int]:
    """Spectral clustering over an RBF kernel whose width is the median distance; with no more tokens than
    groups, singletons.
    """
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import pairwise_distances

    if len(vectors) <= groups:
        return singletons(len(vectors))
    squares = pairwise_distances(vectors, metric="sqeuclidean")
    off_diagonal = ~np.eye(len(vectors), dtype=bool)
    median = float(np.median(squares[off_diagonal]))
    affinity = np.exp(-squares / max(median, 1e-12))
    clustering = SpectralClustering(groups, affinity="precomputed", random_state=seed)
    return clustering.fit_predict(affinity).tolist()


def mean_shift(vectors: np.ndarray) -> list[int]:
    """Mean shift with the bandwidth that scikit-learn estimates; it has no number of clusters. Singletons
    where that bandwidth is 0.
    """
    from sklearn.cluster import MeanShift, estimate_bandwidth

    if len(vectors) < 2:
        return singletons(len(vectors))
    bandwidth = estimate_bandwidth(vectors)
    if not bandwidth:
        return singletons(len(vectors))
    return MeanShift(bandwidth=bandwidth).fit_predict(vectors).tolist()
