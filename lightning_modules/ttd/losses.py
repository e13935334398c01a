"""Which words of a caption are tags, and what a model learns from them.

TTD, "Text-Tag Self-Distillation Enhancing Image-Text Alignment in CLIP to Alleviate Single Tag Bias",
equations 2 to 4. All functions take cosines or soft masks alike: tags are scored in the space in which the
losses are.

Legend: N images, Q tags of all captions, h x w cells of a map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_modules.tags import select_by_largest_gap

EPSILON = 1e-6  # a map whose values differ by less than this is even, and stays near 0


@dataclass(frozen=True)
class LossOptions:
    """What is compared, and how squared differences become one number.

    Args:
        space: maps are soft masks in [0,1] (``mask``), or ``cosine``s, as equation 3 taken literally; their
            targets lie in [0,1] in either case.
        pixels: over the cells of a map: ``mean``, or ``sum`` as the equations have it.
        tags: over the tags of a caption, in L_tag: ``sum`` as the equation, or ``mean``.
        tag_weight: of L_tag.
        distill_weight: of L_distill.
    """

    space: Literal["mask", "cosine"] = "mask"
    pixels: Literal["mean", "sum"] = "mean"
    tags: Literal["sum", "mean"] = "sum"
    tag_weight: float = 1.0
    distill_weight: float = 1.0


class Maps(NamedTuple):
    """Similarity maps of captions and of their tags.

    Args:
        texts: (N,h,w) of the whole captions.
        tags: (Q,h,w) of the tags.
        image_of_tag: (Q,) long, into the N images.
        valid: (N,h,w) bool, false where an image is padding; None where nothing is padded.
    """

    texts: Tensor
    tags: Tensor
    image_of_tag: Tensor
    valid: Tensor | None = None


def pixel_scores(maps: Maps) -> Tensor:
    """s_pixel: the highest value of each tag's map, (Q,) without gradient. Padding does not count."""
    return _masked(maps, -torch.inf).detach().amax(dim=(1, 2))


def select_tags(scores: Tensor, image_of_tag: Tensor) -> Tensor:
    """`select_by_largest_gap` within each caption.

    Args:
        scores: (Q,).
        image_of_tag: (Q,) long.

    Returns:
        (Q,) bool.
    """
    selected = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    for image in image_of_tag.unique().tolist():
        tags = (image_of_tag == image).nonzero()[:, 0]
        selected[tags] = select_by_largest_gap(scores[tags])
    return selected


def minmax(maps: Maps) -> Tensor:
    """Each tag's map from 0 to 1 over its cells, (Q,h,w); 0 on padding."""
    least = _masked(maps, torch.inf).amin(dim=(1, 2), keepdim=True)
    greatest = _masked(maps, -torch.inf).amax(dim=(1, 2), keepdim=True)
    scaled = (maps.tags - least) / (greatest - least).clamp(min=EPSILON)
    if maps.valid is None:
        return scaled
    return scaled * maps.valid[maps.image_of_tag]


def union(targets: Tensor, selected: Tensor, image_of_tag: Tensor, images: int) -> Tensor:
    """The maximum over the selected tags of each image.

    Args:
        targets: (Q,h,w), at least 0.
        selected: (Q,) bool.
        image_of_tag: (Q,) long.
        images: N.

    Returns:
        (N,h,w), 0 for images without a selected tag.
    """
    place = image_of_tag[selected][:, None, None].expand(-1, *targets.shape[1:])
    start = targets.new_zeros(images, *targets.shape[1:])
    return start.scatter_reduce(0, place, targets[selected], "amax", include_self=True)


def tag_loss(maps: Maps, targets: Tensor, selected: Tensor, options: LossOptions) -> Tensor:
    """L_tag: selected tags become their own map scaled from 0 to 1, all others vanish.

    Args:
        maps: of the student.
        targets: (Q,h,w), `minmax` of the teacher's maps, without gradient.
        selected: (Q,) bool.
        options: see there.

    Returns:
        (), the mean over the images that have a tag; 0 with a gradient of 0 where no image has.
    """
    valid = None if maps.valid is None else maps.valid[maps.image_of_tag]
    differences = maps.tags - targets * selected[:, None, None]
    of_tag = _over_pixels(differences.square(), valid, options)
    of_image = of_tag.new_zeros(len(maps.texts)).index_add(0, maps.image_of_tag, of_tag)
    counts = maps.image_of_tag.bincount(minlength=len(maps.texts))
    if options.tags == "mean":
        of_image = of_image / counts.clamp(min=1)
    return _over_images(of_image, counts > 0)


def distill_loss(maps: Maps, targets: Tensor, selected: Tensor, options: LossOptions) -> Tensor:
    """L_distill: the map of the caption becomes the union of those of its selected tags.

    Args:
        maps: of the student.
        targets: (Q,h,w), `minmax` of the teacher's maps, without gradient.
        selected: (Q,) bool.
        options: see there.

    Returns:
        (), the mean over the images that have a tag; 0 with a gradient of 0 where no image has.
    """
    differences = maps.texts - union(targets, selected, maps.image_of_tag, len(maps.texts))
    of_image = _over_pixels(differences.square(), maps.valid, options)
    counts = maps.image_of_tag[selected].bincount(minlength=len(maps.texts))
    return _over_images(of_image, counts > 0)


def ttd_losses(
    student: Maps, teacher: Maps | None = None, options: LossOptions | None = None
) -> dict[str, Tensor]:
    """Both losses and their weighted sum, in float32 at least.

    Args:
        student: maps with gradients.
        teacher: maps that tags are selected and targets made by; None for the student's own.
        options: see there.

    Returns:
        ``loss``, ``tag``, ``distill``, and ``selected``, the share of the tags that is selected.
    """
    options = options or LossOptions()
    student = _full_precision(student)
    teacher = student if teacher is None else _full_precision(teacher)
    selected = select_tags(pixel_scores(teacher), teacher.image_of_tag)
    targets = minmax(teacher).detach()
    tag = tag_loss(student, targets, selected, options)
    distill = distill_loss(student, targets, selected, options)
    return {
        "loss": options.tag_weight * tag + options.distill_weight * distill,
        "tag": tag,
        "distill": distill,
        "selected": selected.float().mean() if len(selected) else tag.new_zeros(()),
    }


def _full_precision(maps: Maps) -> Maps:
    precision = torch.promote_types(maps.tags.dtype, torch.float32)
    return maps._replace(texts=maps.texts.to(precision), tags=maps.tags.to(precision))


def _masked(maps: Maps, value: float) -> Tensor:
    """The tags' maps with a value on padding."""
    if maps.valid is None:
        return maps.tags
    return maps.tags.masked_fill(~maps.valid[maps.image_of_tag], value)


def _over_pixels(squares: Tensor, valid: Tensor | None, options: LossOptions) -> Tensor:
    """(B,h,w) and (B,h,w) bool or None -> (B,)."""
    if valid is None:
        return squares.flatten(1).mean(dim=1) if options.pixels == "mean" else squares.flatten(1).sum(dim=1)
    total = (squares * valid).flatten(1).sum(dim=1)
    return total / valid.flatten(1).sum(dim=1).clamp(min=1) if options.pixels == "mean" else total


def _over_images(of_image: Tensor, has_tag: Tensor) -> Tensor:
    return (of_image * has_tag).sum() / has_tag.sum().clamp(min=1)
