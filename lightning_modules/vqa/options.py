"""Options of answering questions."""

from __future__ import annotations

from dataclasses import dataclass, field

from networks.layers.beam_search import Beams


@dataclass(frozen=True)
class TextOptions:
    """How texts are cut.

    Args:
        max_words: words of a question that are kept.
        max_tokens: tokens of a question that are kept in training, [CLS] included. Evaluation keeps all that
            the network has positions for.
    """

    max_words: int = 30
    max_tokens: int = 25


@dataclass(frozen=True)
class AnswerOptions:
    """How an answer is chosen.

    Args:
        generate: write it freely, by beam search, in place of ranking a list.
        candidates: answers of the list that are ranked by all of their tokens: those with the likeliest first
            token.
        first_token_twice: whether the first token, by which candidates are found, counts once more when they
            are ranked, as in ALBEF's public code; by the chain rule it counts once.
        pairs_per_pass: candidates that are ranked at once; bounds the memory.
        beams: how free answers are searched for.
    """

    generate: bool = False
    candidates: int = 128
    first_token_twice: bool = True
    pairs_per_pass: int = 1024
    beams: Beams = field(default_factory=lambda: Beams(max_length=10, min_length=2))
