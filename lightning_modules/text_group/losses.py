"""The losses of text group discovery as pure functions.

Legend: B captions, T tokens, M tokens to be predicted, W width, V vocabulary, E width of the shared space.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_modules.contrast import contrast_of_pairs
from networks.layers.precision import full_precision

Reduction = Literal["token_mean", "sample_mean", "sum"]


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """InfoNCE in both directions, averaged (the paper's equations 6 to 8).

    Args:
        images: unit vectors (B,E) of the global batch.
        texts: unit vectors (B,E), in the same order.
        temperature: by which cosines are divided.

    Returns:
        A scalar.

    Example:
        >>> features = torch.eye(2)
        >>> round(contrastive_loss(features, features, 1.0).item(), 4)  # log(1 + exp(-1))
        0.3133
    """
    return contrast_of_pairs(full_precision(images) @ full_precision(texts).t() / temperature)


def target_weights(targets: Tensor, reduction: Reduction, captions: int, tokens: float) -> Tensor:
    """The weight of every target token in the reconstruction loss.

    Args:
        targets: (B,T) bool, true at the tokens to be predicted.
        reduction: ``token_mean``, over all tokens of the batch; ``sample_mean``, each caption counts alike;
            ``sum``, the paper's equation 10 as printed, which at batch 4,096 outweighs the contrastive mean
            thousands of times.
        captions: of the whole batch, of which these may be a part.
        tokens: to be predicted in the whole batch.

    Returns:
        (B,T) float32.

    Example:
        >>> targets = torch.tensor([[True, True], [True, False]])
        >>> target_weights(targets, "sample_mean", captions=2, tokens=3).tolist()
        [[0.25, 0.25], [0.5, 0.0]]
    """
    weights = targets.float()
    if reduction == "token_mean":
        return weights / max(1, tokens)
    if reduction == "sample_mean":
        return weights / (weights.sum(dim=1, keepdim=True).clamp_min(1) * captions)
    return weights


def balance_loss(scores: Tensor, words: Tensor) -> Tensor:
    """How far each caption is from using all of its groups alike, averaged over captions; not in the paper.

    That is log K less the entropy of the mean soft assignment.

    Args:
        scores: (B,K,T).
        words: (B,T), true at the tokens that count.

    Returns:
        A scalar.
    """
    total = (full_precision(scores).softmax(dim=1) * words[:, None]).sum(dim=-1)
    share = total / words.sum(dim=1, keepdim=True).clamp_min(1)
    return math.log(scores.shape[1]) + (share * share.clamp_min(1e-8).log()).sum(dim=1).mean()


class _VocabularyCrossEntropy(torch.autograd.Function):
    """Loss and gradients in the forward pass: the logits of one chunk are all that ever exist."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor, chunk: int
    ) -> Tensor:
        """The weighted loss, a scalar, of which the gradients are kept."""
        hidden_gradient: Tensor | None = None
        embedding_gradient: Tensor | None = None
        if ctx.needs_input_grad[0]:
            hidden_gradient = torch.empty_like(hidden)
        if ctx.needs_input_grad[1]:
            embedding_gradient = torch.zeros_like(embedding)
        loss = hidden.new_zeros(())
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = hidden[part] @ embedding.t()
            normaliser = logits.logsumexp(dim=1)
            loss += (weights[part] * (normaliser - logits.gather(1, targets[part, None])[:, 0])).sum()
            if hidden_gradient is None and embedding_gradient is None:
                continue
            # From here on the logits are no longer needed; their memory becomes that of the gradient.
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
    """The weighted sum of the cross-entropies of ``softmax(hidden @ embedding.T)``, in float32.

    Never more than ``chunk`` rows of logits are in memory.

    Args:
        hidden: (M,W).
        embedding: (V,W).
        targets: (M,) long.
        weights: (M,), constants.
        chunk: rows at a time: 1,024 rows of 49,408 words are 200 MB.

    Returns:
        A scalar.

    Example:
        >>> hidden = torch.zeros(2, 3)
        >>> weights = torch.tensor([1.0, 0.5])
        >>> loss = vocabulary_cross_entropy(hidden, torch.ones(4, 3), torch.tensor([0, 3]), weights)
        >>> round(loss.item(), 4)  # 1.5 log 4
        2.0794
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden = full_precision(hidden)
        embedding = full_precision(embedding)
        return _VocabularyCrossEntropy.apply(hidden, embedding, targets, weights.to(hidden.dtype), chunk)
