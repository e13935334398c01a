"""The losses of ALBEF and of HIST as pure functions.

ALBEF: Li et al. 2021, arXiv:2107.07651. HIST: "Barking Up The Syntactic Tree", arXiv:2412.08110.
Legend: B rows of a batch, E embedding width, K queue length, T tokens, V vocabulary, h x w grid of a heat
    map.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Contrast(NamedTuple):
    """Image-text contrastive loss, and the similarities (B,B) within the batch from which hard negatives are
    drawn.
    """

    loss: Tensor
    image_to_text: Tensor
    text_to_image: Tensor


class Features(NamedTuple):
    """L2-normalised embeddings (B,E): of the network, and of its momentum twin."""

    online: Tensor
    momentum: Tensor


def contrastive_loss(
    image: Features,
    text: Features,
    image_queue: Tensor,
    text_queue: Tensor,
    temperature: Tensor,
    alpha: float,
) -> Contrast:
    """ITC with momentum distillation (ALBEF, equations 1 and 6).

    Row b is compared with the B momentum embeddings of this process and the K in the queue. Targets are
    ``alpha`` times the momentum model's own soft-max plus ``1 - alpha`` times the diagonal. (The papers print
    the one-hot form; all public codes use this one.)

    Args:
        image_queue, text_queue: (E,K), as they were before this step.
        temperature: 0-d.
        alpha: share of the momentum model in the targets.
    """
    all_texts = torch.cat([text.momentum.t(), text_queue], dim=1)
    all_images = torch.cat([image.momentum.t(), image_queue], dim=1)
    batch = len(image.online)

    def soft_cross_entropy(logits: Tensor, momentum_logits: Tensor) -> Tensor:
        target = torch.zeros_like(logits).fill_diagonal_(1 - alpha) + alpha * momentum_logits.softmax(dim=1)
        return -(logits.log_softmax(dim=1) * target).sum(dim=1).mean()

    with torch.no_grad():
        momentum_i2t, momentum_t2i = (
            image.momentum @ all_texts / temperature,
            text.momentum @ all_images / temperature,
        )
    i2t, t2i = image.online @ all_texts / temperature, text.online @ all_images / temperature
    loss = (soft_cross_entropy(i2t, momentum_i2t) + soft_cross_entropy(t2i, momentum_t2i)) / 2
    return Contrast(loss, i2t[:, :batch].detach(), t2i[:, :batch].detach())


def negative_weights(similarities: Tensor, power: float = 1.0, excluded: Tensor | None = None) -> Tensor:
    """Probabilities (B,B) with which each row draws its hard negative: the soft-max of its similarities with
    its own partner left out.

    The public codes set the partner's weight to zero after the soft-max, which is the same until a sure model
    leaves nothing to the others. Of similarities that are not finite all rows are as likely: the loss will
    not be finite either, and is where such a run is stopped.

    Args:
        power: of the soft-max weights. 1 is ALBEF's. A smaller one draws easier negatives, with which
            matching starts to learn much sooner from scratch.
        excluded: (B,B) bool, further pairs that are no negatives; by default only the diagonal. A row with
            nothing left draws from all but itself.
    """
    own = torch.eye(len(similarities), dtype=torch.bool, device=similarities.device)
    excluded = own if excluded is None else own | excluded
    excluded = torch.where(excluded.all(dim=1, keepdim=True), own, excluded)
    weights = (power * similarities.float()).masked_fill(excluded, -torch.inf).softmax(dim=1)
    return weights.nan_to_num(nan=1.0)


def same_text(texts: Sequence[str]) -> Tensor:
    """(B,B) bool: rows with the same text, which are false negatives of each other (identical subjects such
    as "man" are frequent).
    """
    numbers = {text: number for number, text in enumerate(texts)}
    of_row = torch.tensor([numbers[text] for text in texts])
    return of_row[:, None] == of_row[None, :]


def said_of(texts: Sequence[str], mentioned: Sequence[frozenset[str]]) -> Tensor:
    """(B,B) bool: whether text b (row) is among what the captions of image a (column) mention; articles do
    not count.

    Such a pair is a false negative: a caption of another image that also has a man in it does not make "man"
        wrong there.
    """
    known = [{bare(text) for text in of_image} for of_image in mentioned]
    return torch.tensor([[bare(text) in of_image for of_image in known] for text in texts])


def bare(text: str) -> str:
    """Lower case, without a leading article."""
    return re.sub(r"^(?:an?|the) ", "", text.lower())


def matching_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """ITM (ALBEF, equation 4): two-way cross-entropy over (P,2) logits of pairs that match and (M,2) of pairs
    that do not.
    """
    labels = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).long().to(positive.device)
    return F.cross_entropy(torch.cat([positive, negative]).float(), labels)


def mask_tokens(
    ids: Tensor, special_ids: Sequence[int], mask_id: int, vocab_size: int, probability: float
) -> tuple[Tensor, Tensor]:
    """BERT's masking: of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    At least one token of the batch is chosen if there is any to choose: the public codes return NaN for a
        batch of short phrases that has no masked
    one.

    Returns:
        masked ids (B,T), and which tokens are to be predicted (B,T) bool.
    """
    eligible = ~torch.isin(ids, torch.tensor(list(special_ids), device=ids.device))
    chosen = (torch.rand(ids.shape, device=ids.device) < probability) & eligible
    if not chosen.any() and eligible.any():
        positions = eligible.flatten().nonzero().squeeze(1)
        chosen.view(-1)[positions[torch.randint(len(positions), (1,), device=ids.device)]] = True
    action = torch.rand(ids.shape, device=ids.device)
    masked = torch.where(chosen & (action < 0.8), torch.full_like(ids, mask_id), ids)
    random_ids = torch.randint(vocab_size, ids.shape, device=ids.device)
    return torch.where(chosen & (action >= 0.8) & (action < 0.9), random_ids, masked), chosen


def masked_language_loss(
    logits: Tensor, labels: Tensor, momentum_logits: Tensor | None, alpha: float
) -> Tensor:
    """MLM with momentum distillation (ALBEF, equations 3 and 7) over the M predicted tokens.

    Args:
        logits: (M,V).
        labels: (M,) long.
        momentum_logits: (M,V) of the momentum model on the same masked ids; None only with ``alpha`` 0.
    """
    if not len(labels):
        return logits.sum() * 0
    loss = F.cross_entropy(logits.float(), labels)
    if not alpha:
        return loss
    assert momentum_logits is not None
    soft = -(logits.float().log_softmax(dim=-1) * momentum_logits.float().softmax(dim=-1)).sum(dim=-1).mean()
    return (1 - alpha) * loss + alpha * soft


def legacy_distillation(logits: Tensor, chosen: Tensor, momentum_logits: Tensor) -> Tensor:
    """The distillation term of SelfEQ's and AMC's code (and of ALBEF's before March 2022), which takes the
    log-soft-max over the token axis.

    Args:
        logits, momentum_logits: (B,T,V).
        chosen: (B,T) bool, the predicted tokens.
    """
    soft = -(logits.float().log_softmax(dim=1) * momentum_logits.float().softmax(dim=-1)).sum(dim=-1)
    return soft[chosen].mean()


def addition_loss(
    phrase: Tensor,
    partner: Tensor,
    composite: Tensor,
    reduction: Literal["sum", "mean", "relative"] = "sum",
    combine: Literal["add", "clamp", "max"] = "add",
) -> Tensor:
    """L_add of HIST: the map of "C_i and C_j" should be the sum of the maps of C_i and C_j.

    Args:
        phrase, partner, composite: (B,h,w) maps; raw as the paper prints it, or each scaled to [0,1] (then
            two maps can add up to 2 where the composite cannot exceed 1, for which ``clamp`` and ``max`` are
            remedies).
        reduction: over the grid: ``sum`` as the paper prints it; ``mean``; or ``relative``, the sum as a
            share of all that the maps hold, in [0,1], which neither a smaller scale of all maps nor fewer
            cells can lower. Over rows always the mean.
        combine: how the two maps are joined.
    """
    if not len(phrase):
        return phrase.sum() * 0
    joined = torch.maximum(phrase, partner) if combine == "max" else phrase + partner
    if combine == "clamp":
        joined = joined.clamp(max=1)
    difference = (joined - composite).abs().flatten(1)
    if reduction == "relative":
        return (difference.sum(dim=1) / ((joined + composite).flatten(1).sum(dim=1) + 1e-12)).mean()
    return (difference.sum(dim=1) if reduction == "sum" else difference.mean(dim=1)).mean()


def vision_language_share(schedule: Literal["step", "linear", "constant"], epoch: float) -> float:
    """alpha of HIST's total loss alpha L_vl + (1 - alpha) (L_vl + L_HIST): 0 at first, 1 from the second
    epoch on.

    Args:
        schedule: ``step`` as the code of SelfEQ does (0 in epoch 0, then 1); ``linear`` rises over the first
            two epochs, another reading of the paper's sentence; ``constant`` keeps HIST's losses on for the
            whole run.
        epoch: epochs since the start, with fractions.
    """
    if schedule == "constant":
        return 0.0
    return float(epoch >= 1) if schedule == "step" else min(1.0, epoch / 2)
