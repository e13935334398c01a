"""How answers are learnt and ranked, as pure functions (ALBEF: Li et al. 2021, arXiv:2107.07651, section 5).

Legend: Q questions, A answers, K candidates of a question, T tokens, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor


def answer_log_probabilities(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The log-probability of each token of an answer after those before it, 0 where there is none.

    Args:
        logits: (A,T,V), of what follows each token.
        ids: (A,T); the first token is given.
        mask: (A,T), 1 = token.

    Returns:
        (A,T-1) float32.
    """
    following = logits[:, :-1].float().log_softmax(dim=-1)
    of_tokens = following.gather(2, ids[:, 1:, None]).squeeze(2)
    return of_tokens.masked_fill(mask[:, 1:] == 0, 0.0)


def answer_losses(
    logits: Tensor, ids: Tensor, mask: Tensor, momentum_logits: Tensor | None, alpha: float
) -> Tensor:
    """The cross-entropy of each answer, summed over its tokens, with momentum distillation: (A,).

    Args:
        logits: (A,T,V), of what follows each token.
        ids: (A,T).
        mask: (A,T), 1 = token.
        momentum_logits: (A,T,V) of the momentum model; None only with ``alpha`` 0.
        alpha: share of the momentum model in the targets.
    """
    hard = -answer_log_probabilities(logits, ids, mask).sum(dim=1)
    if not alpha:
        return hard
    assert momentum_logits is not None
    following = logits[:, :-1].float().log_softmax(dim=-1)
    soft = -(following * momentum_logits[:, :-1].float().softmax(dim=-1)).sum(dim=-1)
    soft = soft.masked_fill(mask[:, 1:] == 0, 0.0).sum(dim=1)
    return (1 - alpha) * hard + alpha * soft


def weighted_loss(losses: Tensor, weights: Tensor, questions: int) -> Tensor:
    """The mean over questions of the sum of their answers' losses, each by its weight.

    Args:
        losses: (A,).
        weights: (A,), the share of people who gave the answer.
        questions: how many there are.

    Example:
        >>> import torch
        >>> weighted_loss(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.5, 1.0]), questions=2)
        tensor(2.7500)
    """
    return (weights * losses).sum() / questions


def candidate_answers(first_logits: Tensor, first_ids: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The answers whose first token is likeliest.

    Args:
        first_logits: (Q,V), of what follows [CLS].
        first_ids: (A,), the first token of each answer of the list.
        number: K of each question, or all answers if there are fewer.

    Returns:
        Log-probabilities of the first tokens (Q,K), and the answers (Q,K) long.
    """
    of_answers = first_logits.float().log_softmax(dim=-1)[:, first_ids]
    log_probabilities, answers = of_answers.topk(min(number, len(first_ids)), dim=1)
    return log_probabilities, answers
