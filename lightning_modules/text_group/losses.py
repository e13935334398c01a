"""The losses of text group discovery as pure functions.

Legend: B captions, T tokens, M tokens to be predicted, W width, V vocabulary, E width of the shared space.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.text_group import full_precision

Reduction = Literal["token_mean", "sample_mean", "sum"]


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """InfoNCE in both directions, averaged (the paper's equations 6 to 8): unit vectors (B,E), a pair a row,
    over all B of the global batch.
    """
    logits = full_precision(images) @ full_precision(texts).t() / temperature
    labels = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels))


def target_weights(targets: Tensor, reduction: Reduction, captions: int, tokens: float) -> Tensor:
    """The weight of every target token in the reconstruction loss: mask (B,T) of targets -> (B,T) float32.

    Args:
        targets: true at the tokens to be predicted.
        reduction: ``token_mean``, over all tokens of the batch; ``sample_mean``, each caption counts alike;
            ``sum``, the paper's equation 10 as printed, which at batch 4,096 outweighs the contrastive mean
            thousands of times.
        captions, tokens: of the whole batch, of which these may be a part.
    """
    weights = targets.float()
    if reduction == "token_mean":
        return weights / max(1, tokens)
    if reduction == "sample_mean":
        return weights / (weights.sum(dim=1, keepdim=True).clamp_min(1) * captions)
    return weights


def balance_loss(raw: Tensor, words: Tensor) -> Tensor:
    """How far each caption is from using all of its groups alike: log K less the entropy of the mean soft
    assignment, averaged over captions. Not in the paper.

    Args:
        raw: scores (B,K,T). words: (B,T), true at the tokens that count.
    """
    share = (full_precision(raw).softmax(dim=1) * words[:, None]).sum(dim=-1) / words.sum(
        dim=1, keepdim=True
    ).clamp_min(1)
    return math.log(raw.shape[1]) + (share * share.clamp_min(1e-8).log()).sum(dim=1).mean()


class _VocabularyCrossEntropy(torch.autograd.Function):
    """Loss and gradients chunk by chunk in the forward pass, so that the logits of one chunk are all that
    ever exist.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor, chunk: int
    ) -> Tensor:
        wanted = ctx.needs_input_grad
        loss = hidden.new_zeros(())
        hidden_gradient = torch.empty_like(hidden) if wanted[0] else None
        embedding_gradient = torch.zeros_like(embedding) if wanted[1] else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = hidden[part] @ embedding.t()
            normaliser = logits.logsumexp(dim=1)
            loss += (weights[part] * (normaliser - logits.gather(1, targets[part, None])[:, 0])).sum()
            if not (wanted[0] or wanted[1]):
                continue
            gradient = logits.sub_(normaliser[:, None]).exp_()
            gradient[torch.arange(len(gradient), device=gradient.device), targets[part]] -= 1
            gradient *= weights[part, None]
            if hidden_gradient is not None:
                hidden_gradient[part] = gradient @ embedding
            if embedding_gradient is not None:
                embedding_gradient.addmm_(gradient.t(), hidden[part])
        ctx.save_for_backward(hidden_gradient, embedding_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if gradient is None else gradient * outer[0] for gradient in ctx.saved_tensors)
        return (*gradients, None, None, None)


def vocabulary_cross_entropy(
    hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor, chunk: int = 1024
) -> Tensor:
    """The weighted sum of the cross-entropies of ``softmax(hidden @ embedding.T)``, in float32, with never
    more than ``chunk`` rows of logits in memory.

    Args:
        hidden: (M,W). embedding: (V,W). targets: (M,) long. weights: (M,), constants.
        chunk: rows at a time: 1,024 rows of 49,408 words are 200 MB.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden, embedding = full_precision(hidden), full_precision(embedding)
        return _VocabularyCrossEntropy.apply(hidden, embedding, targets, weights.to(hidden.dtype), chunk)
