"""Class activation maps of cross-attention, as pure functions.

A map is attention times the gradient of a matching score to that attention, negative gradients dropped, over
heads and text tokens. It is computed in float32, also under autocast. Where HIST's text and the code of
ALBEF, AMC and SelfEQ disagree, the default follows the code or, for the token mean, what does not depend on
the rest of the batch.

Legend: Q texts, H heads, T text tokens, P = h*w image patches; attention carries 1 + P columns, the image's
class token first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Target = Literal["itm_logit", "itm_loss", "log_probability"]
Relu = Literal["per_element", "after_mean"]
TokenReduce = Literal["mean_valid", "mean_all", "sum", "mean_no_special"]
Join = Literal["mean", "product"]


def grad_mode_of(tensor: Tensor) -> torch.set_grad_enabled:
    """A context in which gradients are on if they are on already or ``tensor`` carries one.

    An evaluation runs without gradients; the score of a map must still be differentiable from its attention
    on.
    """
    return torch.set_grad_enabled(torch.is_grad_enabled() or tensor.requires_grad)


def cam_target(match_logits: Tensor, kind: Target = "itm_logit") -> Tensor:
    """The scalar to differentiate, summed over texts so that each has its own gradient.

    Args:
        match_logits: (Q,2), class 1 = match.
        kind: ``itm_logit``, the logit of the match, as in all public code; ``itm_loss``, the cross-entropy of
            the match, which is HIST's text taken literally (its gradient points away from the evidence, and
            vanishes for a confident match); ``log_probability`` of the match, its negative.
    """
    with grad_mode_of(match_logits), torch.autocast(match_logits.device.type, enabled=False):
        log_probability = F.log_softmax(match_logits.float(), dim=-1)[:, 1].sum()
        match kind:
            case "itm_logit":
                return match_logits[:, 1].float().sum()
            case "itm_loss":
                return -log_probability
            case "log_probability":
                return log_probability
    raise ValueError(
        f"no class activation target is called {kind!r}; there are itm_logit, itm_loss and log_probability"
    )


def attention_gradients(
    target: Tensor, attentions: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """d target / d attention of each, of its shape; parameters get no gradient.

    Args:
        target: a scalar, from `cam_target`.
        attentions: cross-attention probabilities that it was computed from.
        create_graph: keep the gradients differentiable, for a loss on maps.
    """
    # Autocast would round the products of the backward pass, too.
    with torch.autocast(target.device.type, enabled=False):
        return torch.autograd.grad(target, tuple(attentions), create_graph=create_graph)


def class_activation_map(
    attention: Tensor,
    gradient: Tensor,
    token_mask: Tensor,
    grid: tuple[int, int],
    *,
    relu: Relu = "per_element",
    token_reduce: TokenReduce = "mean_valid",
    heads: Sequence[int] | None = None,
    denominator: Tensor | float | None = None,
) -> Tensor:
    """The raw map of each text, non-negative.

    Args:
        attention: (Q,H,T,1+P) probabilities.
        gradient: (Q,H,T,1+P), the target's gradient to them.
        token_mask: (Q,T), 1 = token, 0 = padding.
        grid: (h, w).
        relu: ``per_element`` drops negative gradients of each head and token (reference code; HIST's ReLU of
            the product is the same, attention being non-negative); ``after_mean`` lets heads and tokens
            cancel first.
        token_reduce: ``mean_valid`` over the tokens of the text; ``mean_all`` over T, padding included
            (reference code: a map then depends on the longest text of its batch); ``sum``;
            ``mean_no_special`` as mean_valid without the first token (mask a closing one in ``token_mask``).
        heads: which heads to average; all of them by default.
        denominator: for ``mean_all`` only, a number or (Q,) to divide by in place of T, where texts of
            several batches were padded together.

    Returns:
        (Q,h,w) float32.

    Raises:
        ValueError: when the grid does not fit, a head does not exist, or a name is unknown.
    """
    if attention.shape[-1] != 1 + grid[0] * grid[1]:
        raise ValueError(
            f"attention over {attention.shape[-1] - 1} patches does not fit a grid of {grid[0]} x {grid[1]}"
        )
    if relu not in ("per_element", "after_mean"):
        raise ValueError(f"relu must be per_element or after_mean, not {relu!r}")
    if denominator is not None and token_reduce != "mean_all":
        raise ValueError(f"a denominator belongs to mean_all, not to {token_reduce}")
    if heads is not None:
        if not heads or not all(0 <= head < attention.shape[1] for head in heads):
            raise ValueError(f"heads {list(heads)} are not a choice among the {attention.shape[1]} heads")
        attention = attention[:, list(heads)]
        gradient = gradient[:, list(heads)]
    with torch.autocast(attention.device.type, enabled=False):
        attention = attention[..., 1:].float()
        gradient = gradient[..., 1:].float()
        if relu == "per_element":
            gradient = gradient.clamp(min=0)
        weights = _token_weights(token_mask.float(), token_reduce, denominator)
        cam = torch.einsum("qhtp,qt->qp", attention * gradient, weights) / attention.shape[1]
        return cam.clamp(min=0).unflatten(-1, grid)


def join_maps(maps: Tensor, join: Join = "mean") -> Tensor:
    """Maps of several layers or heads as one.

    Args:
        maps: (S,Q,h,w), non-negative.
        join: ``mean``; or ``product``, which is high only where all are, divided by the highest value of all
            as often as leaves it the size of one map.

    Returns:
        (Q,h,w).

    Example:
        >>> maps = torch.tensor([[[[0.25, 0.5]]], [[[0.0, 0.25]]]])
        >>> join_maps(maps).tolist()
        [[[0.125, 0.375]]]
        >>> join_maps(maps, "product").tolist()
        [[[0.0, 0.25]]]
    """
    if join == "mean":
        return maps.mean(dim=0)
    highest = maps.amax(dim=(0, -2, -1)).clamp(min=torch.finfo(maps.dtype).tiny)[:, None, None]
    return (maps / highest).prod(dim=0) * highest


def minmax(cam: Tensor, eps: float = 1e-7) -> Tensor:
    """Each map (...,h,w) scaled to [0,1) by its own minimum and maximum.

    Out of place, since a ReLU before it saves its result for the backward pass.

    Example:
        >>> minmax(torch.tensor([[1.0, 3.0]])).tolist()
        [[0.0, 1.0]]
    """
    shifted = cam - cam.amin(dim=(-2, -1), keepdim=True)
    return shifted / (shifted.amax(dim=(-2, -1), keepdim=True) + eps)


def _token_weights(mask_qt: Tensor, token_reduce: TokenReduce, denominator: Tensor | float | None) -> Tensor:
    match token_reduce:
        case "mean_no_special":
            mask_qt = mask_qt * (torch.arange(mask_qt.shape[1], device=mask_qt.device) > 0)
            divisor = mask_qt.sum(dim=1).clamp(min=1)
        case "mean_valid":
            divisor = mask_qt.sum(dim=1).clamp(min=1)
        case "mean_all":
            length = mask_qt.shape[1] if denominator is None else denominator
            divisor = torch.as_tensor(length, device=mask_qt.device, dtype=mask_qt.dtype).expand(len(mask_qt))
        case "sum":
            divisor = torch.ones_like(mask_qt[:, 0])
        case _:
            raise ValueError(
                f"no token reduction is called {token_reduce!r}; there are mean_valid, mean_all, sum and "
                "mean_no_special"
            )
    return mask_qt / divisor[:, None]
