"""How well the words of a caption fit its image, by the vectors of places and texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.capabilities import ScoredWords, TagScore
from lightning_modules.ttd.losses import select_by_largest_gap
from lightning_modules.ttd.words import candidates


def score_words(
    words: Sequence[str],
    places: Tensor,
    caption: Tensor,
    kind: TagScore,
    encode_texts: Callable[[Sequence[str]], Tensor],
) -> ScoredWords:
    """Scores the words of a caption.

    Args:
        words: of the caption; those that are no candidates for a tag get ``-inf``.
        places: (L,D) vectors of the image's places, of length 1.
        caption: (D,) vector of the whole caption, of length 1.
        kind: of the scores, see `lightning_modules.capabilities.TagScore`.
        encode_texts: M texts -> (M,D) vectors of length 1.
    """
    chosen = candidates(words)
    vectors = encode_texts(chosen.texts)
    cosines = vectors @ places.T
    if kind == "pixel":
        scores = cosines.amax(1)
    elif kind == "image":
        scores = vectors @ F.normalize(places.mean(0), dim=0)
    elif kind == "text":
        scores = vectors @ caption
    else:
        scores = cosines.argmax(0).bincount(minlength=len(vectors)) / places.shape[0]
    selected = select_by_largest_gap(scores)
    text_of_word = torch.tensor(chosen.text_of_word, dtype=torch.long, device=scores.device)
    is_candidate = text_of_word >= 0
    return ScoredWords(
        torch.where(is_candidate, scores[text_of_word], -torch.inf),
        is_candidate & selected[text_of_word],
    )
