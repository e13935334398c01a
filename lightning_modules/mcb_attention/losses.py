"""The losses of MCB attention as pure functions: L = L_ce + lambda L_p + beta R, and what makes a map point.

"Weakly Supervised Attention Learning for Textual Phrases Grounding". Legend: B images, Q queries, K classes,
C features, h x w grid of a map.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PairLoss = Literal["contrastive", "literal", "none"]


class Queries(NamedTuple):
    """What is asked in a step: for each of Q queries its class, its image, and whether that class is in the
    image.
    """

    classes: Tensor
    image: Tensor
    present: Tensor


def draw_queries(labels: Tensor, which: Literal["one", "all"], absent: float) -> Queries:
    """Queries for (B,K) bool labels: ``one`` class of each image, each equally likely, or ``all``; and with
    probability ``absent`` one that is not there.
    """
    if which == "all":
        image, classes = labels.nonzero(as_tuple=True)
    else:
        image = labels.any(1).nonzero()[:, 0]
        classes = torch.multinomial(labels[image].float(), 1)[:, 0] if len(image) else image
    asked = (torch.rand(len(labels), device=labels.device) < absent) & ~labels.all(1)
    elsewhere = asked.nonzero()[:, 0]
    missing = torch.multinomial((~labels[elsewhere]).float(), 1)[:, 0] if len(elsewhere) else elsewhere
    present = torch.cat([torch.ones_like(classes), torch.zeros_like(missing)]).bool()
    return Queries(torch.cat([classes, missing]), torch.cat([image, elsewhere]), present)


def map_penalty(maps: Tensor) -> Tensor:
    """R (equation 3) of each map: the mean of its squares. (Q,h,w) -> (Q,)."""
    return maps.square().mean((1, 2))


def total_variation(maps: Tensor, images: Tensor | None = None, edge: float = 0.15) -> Tensor:
    """How much neighbouring places of the maps differ, per place: (Q,h,w) -> scalar. Specks and torn strokes
    have much of it. Not in the paper.

    Args:
        images: (Q,1,H,W) in [0,1]: where neighbours differ in brightness by d, they count exp(-d / ``edge``)
            only, so that maps may end where strokes do.
    """
    grid = (
        maps.new_zeros(maps.shape)
        if images is None
        else F.interpolate(images, size=maps.shape[1:], mode="area")[:, 0]
    )
    steps = [(maps.diff(dim=dim).abs() * (-grid.diff(dim=dim).abs() / edge).exp()).sum() for dim in (1, 2)]
    return torch.stack(steps).sum() / maps.numel()


def literal_pair_loss(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """Equation 2 as it is printed: |f_i - f_j - m|^2 of a pair of the same class, -|f_i - f_j|^2 of one of
    two. (P,C), (P,C), (P,) bool -> (P,).

    The margin is subtracted from every coordinate of pairs that should be near, and nothing bounds the
    distance of those that should be far.
    """
    difference = first - second
    return torch.where(same, (difference - margin).square().sum(1), -difference.square().sum(1))


def contrastive_pair_loss(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """What the paper's text describes: d^2 of a pair of the same class, max(0, m - d)^2 of one of two, d
    their distance. Shapes as above.
    """
    squared = (first - second).square().sum(1)
    distance = (squared + 1e-12).sqrt()  # the root's gradient at 0 is infinite
    return torch.where(same, squared, (margin - distance).clamp(min=0).square())


def pair_loss(features: Tensor, classes: Tensor, kind: PairLoss, margin: float) -> Tensor:
    """L_p over all pairs of a batch: (Q,C) attended features, scaled to unit length here, and (Q,) classes ->
    scalar.

    ``contrastive`` averages pairs of the same class and pairs of two classes separately, since the latter are
    nine in ten; ``literal`` averages all.
    """
    first, second = torch.triu_indices(len(classes), len(classes), 1, device=classes.device)
    unit, same = F.normalize(features.float(), dim=1, eps=1e-6), classes[first] == classes[second]
    if kind == "none" or not len(first):
        return features.new_zeros(())
    if kind == "literal":
        return literal_pair_loss(unit[first], unit[second], same, margin).mean()
    losses = contrastive_pair_loss(unit[first], unit[second], same, margin)
    sides = [losses[side] for side in (same, ~same) if side.any()]
    return torch.stack([side.mean() for side in sides]).sum()


def complement_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """-log(1 - p) of the queried class in what the map leaves over: (Q,K) logits, (Q,) -> scalar. Zero if the
    rest does not tell the class.
    """
    others = logits.masked_fill(F.one_hot(classes, logits.shape[1]).bool(), -torch.inf)
    return (logits.logsumexp(1) - others.logsumexp(1)).mean()


def masked_targets(labels: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
    """What a judge should see in the image under the map, and in the rest of it: two (Q,K) float tensors of
    class labels.
    """
    queried = F.one_hot(queries.classes, labels.shape[1]).bool()
    return (queried & queries.present[:, None]).float(), (labels[queries.image] & ~queried).float()


def masked_images(
    images: Tensor, maps: Tensor, image_of_query: Tensor, black: Tensor
) -> tuple[Tensor, Tensor]:
    """The images under their maps, and the rest of them, both on black: (B,3,H,W), (Q,h,w), (Q,), (3,1,1) ->
    two (Q,3,H,W).
    """
    lit = images[image_of_query] - black
    kept = lit * F.interpolate(maps[:, None], size=images.shape[2:], mode="bilinear", align_corners=False)
    return kept + black, lit - kept + black
