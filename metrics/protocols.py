"""How a heat map becomes a decision, and a decision a hit: the rules that differ between papers, as one value
with three named presets.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

PublishedBoxes = Literal["corners", "xywh"]


@dataclass(frozen=True)
class Protocol:
    """The rules of one evaluation of phrase grounding. Boxes are xyxy, points are integer pixel indices, both
    in the original image.

    Args:
        name: written beside every number.
        prompt: put before each phrase.
        query_unit: ``phrase`` makes every mention a decision; ``chain`` averages the maps of a chain's
            mentions into one decision.
        point_resize: how a map is resized to the image before its first maximum (row by row) is the point.
            ``bilinear`` has half-pixel centres and agrees with OpenCV's INTER_LINEAR to 2e-14 in float64.
        point_size: side of the square to which a map is brought first (bilinear); None keeps the model's own
            grid.
        precision: arithmetic of the resizing; the reference codes differ, and ties fall differently.
        point_boxes: the point must lie in ``any`` box of the query, or in the ``union`` (the smallest box
            around them all).
        inside: ``strict`` x0 < x < x1, ``inclusive`` x0 <= x <= x1, ``half_open`` x0 <= x < x1.
        box_rule: how boxes are found in a map, see :func:`metrics.boxes.boxes_from_heatmaps`; their union is
            the predicted box.
        box_size: side of the square map on which boxes are sought (bilinear); None keeps the model's own
            grid.
        box_threshold: what belongs to a box: everything that is at least this share of the map's range above
            its minimum; between 0 and 1.
        gt_box: the prediction is compared with the ``union`` of the query's boxes, or with the best fitting
            of them (``any``).
        min_area: a query is judged only if its box covers more than this fraction of the image; 0 judges all.
        area_rule: which box that is: the ``first``, the ``union``, or ``each`` of them.
        box_convention: ``exclusive`` takes boxes as batches hold them; ``reference`` as the reference loaders
            hold them, see :func:`evaluated_boxes`.
        clip_boxes: cut boxes at the border of the image first.

    Raises:
        ValueError: a value outside the choices of its field.
    """

    name: str
    prompt: str = ""
    query_unit: Literal["phrase", "chain"] = "phrase"
    point_resize: Literal["bicubic", "bilinear"] = "bicubic"
    point_size: int | None = None
    precision: Literal["float32", "float64"] = "float32"
    point_boxes: Literal["any", "union"] = "any"
    inside: Literal["strict", "inclusive", "half_open"] = "half_open"
    box_rule: Literal["reference", "clean"] = "clean"
    box_size: int | None = 224
    box_threshold: float = 0.5
    gt_box: Literal["union", "any"] = "union"
    min_area: float = 0.0
    area_rule: Literal["first", "union", "each"] = "first"
    box_convention: Literal["reference", "exclusive"] = "exclusive"
    clip_boxes: bool = False

    def __post_init__(self) -> None:
        for field, choices in _choices().items():
            value = getattr(self, field)
            if value not in choices:
                raise ValueError(
                    f"protocol '{self.name}' has {field}={value!r}, which is none of {', '.join(choices)}."
                )
        if not 0 < self.box_threshold < 1:
            raise ValueError(
                f"protocol '{self.name}' has box_threshold={self.box_threshold}, "
                "which is not between 0 and 1."
            )
        if not 0 <= self.min_area < 1:
            raise ValueError(
                f"protocol '{self.name}' has min_area={self.min_area}, which is no fraction in [0, 1)."
            )


@cache
def _choices() -> dict[str, tuple[str, ...]]:
    """The choices of each field that has some."""
    hints = get_type_hints(Protocol)
    literals = [field.name for field in fields(Protocol) if get_origin(hints[field.name]) is Literal]
    return {name: get_args(hints[name]) for name in literals}


SELFEQ = Protocol(
    name="selfeq",
    inside="strict",
    box_rule="reference",
    box_convention="reference",
)
"""Reference code of SelfEQ, the same as AMC's; HIST's own rows. Flickr30k Entities: every phrase occurrence
is a query, nothing is filtered, the map is resized by ``F.interpolate(mode="bicubic", align_corners=False)``
in float32, the point must lie strictly inside any box of the chain, and an all-zero map points at (0, 0). The
papers report no box accuracy: the box fields are WWbL's, so that the number can be compared. No prompt."""

WWBL = Protocol(
    name="wwbl",
    prompt="image of ",
    query_unit="chain",
    point_resize="bilinear",
    point_size=224,
    precision="float64",
    point_boxes="union",
    inside="inclusive",
    box_rule="reference",
    min_area=0.05,
    area_rule="first",
    box_convention="reference",
)
"""Reference code of WWbL (g; g++ reports under the same): the maps of a chain's phrases are averaged in
float32, one decision a chain in float64; point and box accuracy on the 224 x 224 map of its README
(``point_size=None, box_size=None`` for a model evaluated at another size, e.g. 304); OpenCV's bilinear
resize, inclusive bounds; the Flickr loader hands over the union of a chain's boxes, so both decisions use it;
a chain counts if its *first* box covers more than 5 % of the image. The Visual Genome branch of that code
prefixes the prompt twice; ``prompt="image of image of "`` repeats that. Boxes are compared as the loaders
hold them, which for ReferIt are cut to integers: that is left to the data set."""

CLEAN = Protocol(
    name="clean",
    inside="half_open",
    box_rule="clean",
    clip_boxes=True,
)
"""Ours, the recommended one: every phrase mention is a query, nothing is filtered, bicubic resize, the
point's pixel must belong to any box of the query (0-based, maximum exclusive), boxes by plain connected
components, IoU of union against union: a phrase for several things is found when all are covered."""

PRESETS = {preset.name: preset for preset in (SELFEQ, WWBL, CLEAN)}


def protocol(name: str | Protocol, **changes: Any) -> Protocol:
    """A preset by its name (a Protocol is taken as it is), with changes to its fields.

    Raises:
        ValueError: no such preset; names the nearest.

    Example:
        >>> protocol("wwbl", box_size=None).prompt
        'image of '
    """
    if isinstance(name, Protocol):
        return replace(name, **changes)
    if name not in PRESETS:
        near = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"there is no evaluation protocol '{name}', did you mean '{near}' (known: {', '.join(PRESETS)})?"
        )
    return replace(PRESETS[name], **changes)


def changed_protocol(name: str, changes: dict[str, Any] | None) -> Protocol:
    """A preset by its name; with changes to its fields it is called ``<name>*``.

    Example:
        >>> changed_protocol("clean", None).name, changed_protocol("clean", {"min_area": 0.05}).name
        ('clean', 'clean*')
    """
    if not changes:
        return protocol(name)
    return replace(protocol(name), **{**changes, "name": f"{name}*"})


def evaluated_boxes(boxes: Tensor, sizes: Tensor, rules: Protocol, published: PublishedBoxes) -> Tensor:
    """The boxes of a batch in the convention that the protocol compares in. Conventions meet here alone.

    A batch holds the 0-based box with the maximum exclusive. Where the data set publishes 1-based inclusive
    corners (Flickr30k Entities: xmin..xmax), that is (xmin-1, ymin-1, xmax, ymax); the reference loaders
    subtract one from all four and use (xmin-1, ymin-1, xmax-1, ymax-1), whose maximum is the last pixel
    inside, for comparing points and for areas alike. Hence ``corners`` takes one off the maximum again under
    ``box_convention="reference"``. Where the data set publishes x, y, width, height (Visual Genome, ReferIt,
    RefCOCO), reference loaders use (x, y, x+w, y+h), just as the batch does.

    Args:
        boxes: (q,K,4) float, NaN where a query has fewer than K boxes.
        sizes: (q,2) height and width of the image.
        rules: the protocol.
        published: how the data set publishes its boxes.

    Returns:
        (q,K,4), of the dtype of ``boxes``.
    """
    if rules.box_convention == "reference" and published == "corners":
        boxes = boxes - boxes.new_tensor([0, 0, 1, 1])
    if rules.clip_boxes:
        limit = sizes.to(boxes).flip(-1).repeat(1, 2)[:, None]
        boxes = torch.minimum(boxes.clamp(min=0), limit)
    return boxes
