"""Beam search for the likeliest text.

Legend: K beams, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Beams:
    """How texts are searched for; BLIP's values by default.

    Args:
        width: K, texts that are followed at once.
        max_length: of a text in tokens, the prompt included.
        min_length: no text ends before it has this many tokens.
        length_penalty: a text's log-probability is divided by its number of new tokens to this power.
    """

    width: int = 3
    max_length: int = 30
    min_length: int = 10
    length_penalty: float = 1.0


def beam_search(
    next_log_probabilities: Callable[[Tensor], Tensor],
    prompt: Tensor,
    end_id: int,
    beams: Beams = Beams(),
) -> Tensor:
    """The likeliest text that begins with the prompt, as far as K beams see.

    Args:
        next_log_probabilities: ids (K,T) -> log-probabilities (K,V) of the token that comes next.
        prompt: (T,) ids.
        end_id: of the token that ends a text.
        beams: how the search is done.

    Returns:
        Its ids (T'), with the prompt, and with ``end_id`` unless it was cut at ``max_length``.

    Example:
        >>> chain = torch.tensor([[0.1, 0.6, 0.3], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]]).log()
        >>> beam_search(lambda ids: chain[ids[:, -1]], torch.tensor([0]), end_id=2, beams=Beams(2, 5, 0))
        tensor([0, 1, 2])
    """
    texts = prompt[None]
    totals = torch.zeros(1, device=prompt.device)
    finished: list[tuple[float, Tensor]] = []
    for length in range(len(prompt) + 1, beams.max_length + 1):
        following = next_log_probabilities(texts)
        if length <= beams.min_length:
            following[:, end_id] = -torch.inf
        vocab_size = following.shape[1]
        # Twice as many as are kept, since half of them may end here.
        count = min(2 * beams.width, following.numel())
        totals, places = (totals[:, None] + following).flatten().topk(count)
        texts = torch.cat([texts[places // vocab_size], (places % vocab_size)[:, None]], dim=1)
        ended = texts[:, -1] == end_id
        divisor = (length - len(prompt)) ** beams.length_penalty
        for text, total, ends in zip(texts[: beams.width], totals, ended, strict=False):
            if ends or length == beams.max_length:
                finished.append((total.item() / divisor, text))
        finished = sorted(finished, key=lambda scored: scored[0], reverse=True)[: beams.width]
        texts = texts[~ended][: beams.width]
        totals = totals[~ended][: beams.width]
        if len(finished) == beams.width and totals[0].item() / divisor <= finished[-1][0]:
            break
    return finished[0][1]
