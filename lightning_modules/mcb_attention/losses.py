"""The losses of MCB attention as pure functions: L_ce + lambda L_p + beta R, and what makes a map localise.

"Weakly Supervised Attention Learning for Textual Phrases Grounding" (called the paper here).

Legend: B images, Q queries, P pairs, K classes, C features, h x w grid of a map.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PairLoss = Literal["contrastive", "literal", "none"]


class Queries(NamedTuple):
    """What is asked in a step.

    Args:
        classes: (Q,) long.
        image: (Q,) long, the image of each query.
        present: (Q,) bool, whether the class is in the image.
    """

    classes: Tensor
    image: Tensor
    present: Tensor


def draw_queries(labels: Tensor, per_image: Literal["one", "all"], absent: float) -> Queries:
    """Draws the queries of a step; those for present classes come first.

    Args:
        labels: (B,K) bool, which classes each image shows.
        per_image: ``one`` class of each image, each equally likely, or ``all``.
        absent: probability that an image is also queried for a class that it does not show.

    Example:
        >>> labels = torch.tensor([[True, False, True], [False, True, False]])
        >>> draw_queries(labels, "all", absent=0.0).classes.tolist()
        [0, 2, 1]
    """
    if per_image == "all":
        image, classes = labels.nonzero(as_tuple=True)
    else:
        image = labels.any(1).nonzero()[:, 0]
        classes = _draw_class(labels[image])
    with_absent = (torch.rand(len(labels), device=labels.device) < absent) & ~labels.all(1)
    absent_image = with_absent.nonzero()[:, 0]
    absent_classes = _draw_class(~labels[absent_image])
    present = torch.cat([torch.ones_like(classes), torch.zeros_like(absent_classes)]).bool()
    return Queries(torch.cat([classes, absent_classes]), torch.cat([image, absent_image]), present)


def _draw_class(candidates: Tensor) -> Tensor:
    """(N,K) bool with a candidate in every row -> (N,) long, one of each row's."""
    if not len(candidates):  # torch.multinomial refuses an empty tensor
        return torch.zeros(0, dtype=torch.long, device=candidates.device)
    return torch.multinomial(candidates.float(), 1)[:, 0]


def map_penalty(maps: Tensor) -> Tensor:
    """R (equation 3) of each map, the mean of its squares: (Q,h,w) -> (Q,).

    Example:
        >>> map_penalty(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).tolist()
        [0.5]
    """
    return maps.square().mean((1, 2))


def total_variation(maps: Tensor, images: Tensor | None = None, edge: float = 0.15) -> Tensor:
    """How much neighbours in the maps differ, per position. Specks and torn strokes have much of it.

    Not in the paper.

    Args:
        maps: (Q,h,w).
        images: (Q,1,H,W) in [0,1]: where neighbours differ in brightness by d, they count exp(-d / ``edge``)
            only, so that maps may end where strokes do.
        edge: the difference in brightness at which they count 1/e.

    Returns:
        A scalar.

    Example:
        >>> total_variation(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])).item()
        0.5
    """
    if images is None:
        brightness = maps.new_zeros(maps.shape)
    else:
        brightness = F.interpolate(images, size=maps.shape[1:], mode="area")[:, 0]
    steps = []
    for dim in (1, 2):
        weights = (-brightness.diff(dim=dim).abs() / edge).exp()
        steps.append((maps.diff(dim=dim).abs() * weights).sum())
    return torch.stack(steps).sum() / maps.numel()


def literal_pair_loss(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """Equation 2 as it is printed.

    |f_i - f_j - m|^2 of a pair of the same class, -|f_i - f_j|^2 of one of two. The margin is subtracted from
    every coordinate of pairs that should be near, and nothing bounds the distance of those that should be
    far.

    Args:
        first: (P,C).
        second: (P,C).
        same: (P,) bool, whether both have the same class.
        margin: m.

    Returns:
        (P,).
    """
    difference = first - second
    return torch.where(same, (difference - margin).square().sum(1), -difference.square().sum(1))


def contrastive_pair_loss(first: Tensor, second: Tensor, same: Tensor, margin: float) -> Tensor:
    """What the paper's text describes; the arguments are those of `literal_pair_loss`.

    d^2 of a pair of the same class, max(0, m - d)^2 of one of two, with d their distance.

    Example:
        >>> first = torch.zeros(2, 1)
        >>> second = torch.full((2, 1), 0.5)
        >>> contrastive_pair_loss(first, second, torch.tensor([True, False]), margin=2.0).tolist()
        [0.25, 2.25]
    """
    squared = (first - second).square().sum(1)
    distance = (squared + 1e-12).sqrt()  # the root's gradient at 0 is infinite
    return torch.where(same, squared, (margin - distance).clamp(min=0).square())


def pair_loss(features: Tensor, classes: Tensor, kind: PairLoss, margin: float) -> Tensor:
    """L_p over all pairs of a batch.

    Args:
        features: (Q,C) attended features; they are scaled to unit length.
        classes: (Q,) long.
        kind: ``contrastive`` averages pairs of the same class and pairs of two classes separately, since the
            latter are nine in ten; ``literal`` averages all; ``none`` is 0.
        margin: m.

    Returns:
        A scalar; 0 if there is no pair.
    """
    first, second = torch.triu_indices(len(classes), len(classes), 1, device=classes.device)
    if kind == "none" or not len(first):
        return features.new_zeros(())
    unit = F.normalize(features.float(), dim=1, eps=1e-6)
    same = classes[first] == classes[second]
    if kind == "literal":
        return literal_pair_loss(unit[first], unit[second], same, margin).mean()
    losses = contrastive_pair_loss(unit[first], unit[second], same, margin)
    means = [losses[side].mean() for side in (same, ~same) if side.any()]
    return torch.stack(means).sum()


def complement_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """-log(1 - p) of the queried class in what the map leaves over; 0 if the rest does not tell the class.

    Args:
        logits: (Q,K).
        classes: (Q,) long.

    Returns:
        A scalar.

    Example:
        >>> round(complement_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.6931
    """
    others = logits.masked_fill(F.one_hot(classes, logits.shape[1]).bool(), -torch.inf)
    return (logits.logsumexp(1) - others.logsumexp(1)).mean()


def masked_targets(labels: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
    """What a judge should see in the images under the maps, and in the rest of them.

    Args:
        labels: (B,K) bool.
        queries: Q of them.

    Returns:
        Two (Q,K) float tensors: the queried class if it is present, and all others of the image.
    """
    queried = F.one_hot(queries.classes, labels.shape[1]).bool()
    under = queried & queries.present[:, None]
    rest = labels[queries.image] & ~queried
    return under.float(), rest.float()


def masked_images(
    images: Tensor, maps: Tensor, image_of_query: Tensor, black: Tensor
) -> tuple[Tensor, Tensor]:
    """The images under their maps, and the rest of them, both on black.

    Args:
        images: (B,3,H,W).
        maps: (Q,h,w) in [0,1].
        image_of_query: (Q,) long.
        black: (3,1,1), what a black pixel is.

    Returns:
        Two (Q,3,H,W).
    """
    lit = images[image_of_query] - black
    kept = lit * F.interpolate(maps[:, None], size=images.shape[2:], mode="bilinear", align_corners=False)
    return kept + black, lit - kept + black
