"""The vision-language losses of ALBEF and BLIP as pure functions: contrast, matching, language modelling.

ALBEF: Li et al. 2021, arXiv:2107.07651; BLIP: Li et al. 2022, arXiv:2201.12086.
Legend: B rows of a batch, E embedding width, K queue length, M predicted tokens, T tokens, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Contrast(NamedTuple):
    """The image-text contrastive loss, and the similarities (B,B) from which hard negatives are drawn."""

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
    matches: Tensor | None = None,
) -> Contrast:
    """ITC with momentum distillation (ALBEF, equations 1 and 6).

    Row b is compared with the B momentum embeddings of this process and the K in the queue. Targets are
    ``alpha`` times the momentum model's own soft-max plus ``1 - alpha`` times the diagonal, or what
    ``matches`` says instead. (The papers print the one-hot form; all public codes use this one.)

    Args:
        image: of the B images.
        text: of their B texts.
        image_queue: (E,K), as it was before this step.
        text_queue: (E,K), likewise.
        temperature: 0-d.
        alpha: share of the momentum model in the targets.
        matches: (B,B+K) bool, the columns that match a row, its own at least; they share the target equally.
            By default the row's own alone.
    """
    all_texts = torch.cat([text.momentum.t(), text_queue], dim=1)
    all_images = torch.cat([image.momentum.t(), image_queue], dim=1)
    with torch.no_grad():
        momentum_image_to_text = image.momentum @ all_texts / temperature
        momentum_text_to_image = text.momentum @ all_images / temperature
    image_to_text = image.online @ all_texts / temperature
    text_to_image = text.online @ all_images / temperature
    loss = (
        _soft_cross_entropy(image_to_text, momentum_image_to_text, alpha, matches)
        + _soft_cross_entropy(text_to_image, momentum_text_to_image, alpha, matches)
    ) / 2
    batch = len(image.online)
    return Contrast(loss, image_to_text[:, :batch].detach(), text_to_image[:, :batch].detach())


def _soft_cross_entropy(
    logits: Tensor, momentum_logits: Tensor, alpha: float, matches: Tensor | None
) -> Tensor:
    if matches is None:
        target = torch.zeros_like(logits).fill_diagonal_(1 - alpha)
    else:
        target = (1 - alpha) * matches / matches.sum(dim=1, keepdim=True)
    target = target + alpha * momentum_logits.softmax(dim=1)
    return -(logits.log_softmax(dim=1) * target).sum(dim=1).mean()


def negative_weights(similarities: Tensor, power: float = 1.0, excluded: Tensor | None = None) -> Tensor:
    """The probability (B,B) of each pair to be drawn as a hard negative.

    It is the soft-max of a row's similarities without its own partner. The public codes set the partner's
    weight to zero after the soft-max, which is the same unless a very confident model leaves nothing to the
    others. Where similarities are not finite, all rows are equally likely: the loss is not finite either, and
    it is there that such a run is stopped.

    Args:
        similarities: (B,B).
        power: of the soft-max weights. 1 is ALBEF's. A smaller one draws easier negatives, with which
            matching starts to learn much sooner from scratch.
        excluded: (B,B) bool, further pairs that are no negatives; by default only the diagonal. A row with
            nothing left draws from all but itself.
    """
    own = torch.eye(len(similarities), dtype=torch.bool, device=similarities.device)
    if excluded is None:
        excluded = own
    excluded = own | excluded
    excluded = torch.where(excluded.all(dim=1, keepdim=True), own, excluded)
    weights = (power * similarities.float()).masked_fill(excluded, -torch.inf).softmax(dim=1)
    return weights.nan_to_num(nan=1.0)


def same_text(texts: Sequence[str]) -> Tensor:
    """(B,B) bool: which rows have the same text.

    They are false negatives of each other; identical subjects such as "man" are frequent.
    """
    number_of_text = {text: number for number, text in enumerate(texts)}
    numbers = torch.tensor([number_of_text[text] for text in texts])
    return numbers[:, None] == numbers[None, :]


def mentioned_in(texts: Sequence[str], mentioned: Sequence[frozenset[str]]) -> Tensor:
    """(B,B) bool: whether text b (row) is mentioned by the captions of image a (column), articles aside.

    Such a pair is a false negative: a caption of another image that also has a man in it does not make "man"
    wrong there.
    """
    mentions = [set(map(without_article, mentions_of_image)) for mentions_of_image in mentioned]
    rows = []
    for text in map(without_article, texts):
        rows.append([text in mentions_of_image for mentions_of_image in mentions])
    return torch.tensor(rows)


def without_article(text: str) -> str:
    """Lower case, without a leading article."""
    return re.sub(r"^(?:an?|the) ", "", text.lower())


def matching_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """ITM (ALBEF, equation 4): the two-way cross-entropy of image-text pairs.

    Args:
        positive: (P,2) logits of pairs that match.
        negative: (N,2) logits of pairs that do not.
    """
    labels = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).long().to(positive.device)
    return F.cross_entropy(torch.cat([positive, negative]).float(), labels)


def mask_tokens(
    ids: Tensor, special_ids: Sequence[int], mask_id: int, vocab_size: int, probability: float
) -> tuple[Tensor, Tensor]:
    """BERT's masking: of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    At least one token of the batch is chosen if there is any to choose: the public codes return NaN for a
    batch of short phrases that has no masked one.

    Args:
        ids: (B,T) token ids.
        special_ids: tokens that are never chosen.
        mask_id: the id of [MASK].
        vocab_size: of the random tokens.
        probability: with which a token is chosen.

    Returns:
        The masked ids (B,T), and which tokens are to be predicted (B,T) bool.
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
        alpha: share of the momentum model in the targets.
    """
    if not len(labels):
        return logits.sum() * 0
    loss = F.cross_entropy(logits.float(), labels)
    if not alpha:
        return loss
    assert momentum_logits is not None
    soft = -(logits.float().log_softmax(dim=-1) * momentum_logits.float().softmax(dim=-1)).sum(dim=-1).mean()
    return (1 - alpha) * loss + alpha * soft


def next_token_loss(logits: Tensor, ids: Tensor, mask: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """LM of BLIP: the cross-entropy of each token after those before it, padding aside.

    Args:
        logits: (B,T,V), of what follows each token.
        ids: (B,T).
        mask: (B,T), 1 = token.
        label_smoothing: share of the target that is spread over the vocabulary.
    """
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets.flatten(), label_smoothing=label_smoothing
    )


def legacy_distillation(logits: Tensor, chosen: Tensor, momentum_logits: Tensor) -> Tensor:
    """The distillation term of SelfEQ's and AMC's code (and of ALBEF's before March 2022).

    It takes the log-soft-max over the token axis.

    Args:
        logits: (B,T,V).
        momentum_logits: (B,T,V).
        chosen: (B,T) bool, the predicted tokens.
    """
    soft = -(logits.float().log_softmax(dim=1) * momentum_logits.float().softmax(dim=-1)).sum(dim=-1)
    return soft[chosen].mean()
