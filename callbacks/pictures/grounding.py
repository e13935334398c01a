"""A gallery of what a module grounds: the image, the phrase, the heat map, the boxes, the point."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import lightning.pytorch as pl
import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from callbacks.heatmaps import model_heatmaps
from callbacks.pictures.gallery import Gallery
from datamodules.batches import GroundingBatch, denormalise
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGround
from metrics.decisions import Decision, Queries, Truth, decide
from metrics.protocols import changed_protocol

GREEN = (60, 220, 60)
ORANGE = (255, 150, 30)
RED = (230, 40, 40)
WHITE = (255, 255, 255)
DARK = (20, 20, 20)
GREY = (130, 130, 130)
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Pixels: height of the image in a panel, height of the caption above it, space around a text.
HEIGHT = 288
CAPTION = 30
MARGIN = 6


def overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """An image under a transparent heat map; cold places stay dark and unchanged in hue.

    Args:
        image: (H,W,3) uint8 RGB.
        heatmap: (H,W) in [0, 1].

    Returns:
        (H,W,3) uint8 RGB.
    """
    colours = cv2.applyColorMap((255 * heatmap).astype(np.uint8), cv2.COLORMAP_TURBO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    weight = (0.25 + 0.5 * heatmap)[..., None]
    return (image * (1 - weight) + colours * weight).astype(np.uint8)


def draw(
    image: np.ndarray,
    phrase: str,
    decision: Decision,
    boxes: Tensor,
    size: tuple[int, int],
    protocol: str = "",
) -> np.ndarray:
    """One panel: on the left the image with the true boxes (green), on the right the heat map with the point
    (white, in a green ring for a hit and a red one for a miss) and the predicted box (orange).

    Args:
        image: (S,S,3) uint8 RGB, as the module saw it.
        phrase: written above.
        decision: what the protocol decided.
        boxes: (K,4) true boxes in pixels of the original image; K may be 0.
        size: height and width of the original image.
        protocol: its name, written above.

    Returns:
        (H,W,3) uint8 RGB.
    """
    height = HEIGHT
    width = max(96, min(2 * HEIGHT, round(HEIGHT * size[1] / size[0])))
    left = np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))
    right = draw_decision(left, decision, boxes, size)
    for box in boxes.tolist():
        _rectangle(left, box, (width / size[1], height / size[0]), GREEN)
    gap = np.full((height, 4, 3), 255, np.uint8)
    panel = np.concatenate([left, gap, right], axis=1)
    return np.concatenate([_caption(phrase, protocol, panel.shape[1]), panel])


def draw_decision(image: np.ndarray, decision: Decision, boxes: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The heat map over an image, with boxes and the point; the right half of `draw`.

    Args:
        image: (h,w,3) uint8 RGB, at the size at which it is shown.
        decision: what the protocol decided.
        boxes: (K,4) true boxes in pixels of the original image; K may be 0.
        size: height and width of the original image.

    Returns:
        (h,w,3) uint8 RGB.
    """
    height, width = image.shape[:2]
    scale = (width / size[1], height / size[0])
    heatmap = interpolate(decision.heatmap[None, None].float(), size=(height, width), mode="bicubic")
    picture = overlay(image, heatmap[0, 0].clamp(0, 1).cpu().numpy())
    if decision.box is not None:
        _rectangle(picture, decision.box, scale, ORANGE)
    for box in boxes.tolist():
        _rectangle(picture, box, scale, GREEN)
    # A pixel's middle, and not its corner, is where it was pointed at.
    x, y = (round((pixel + 0.5) * s - 0.5) for pixel, s in zip(decision.point, scale, strict=True))
    cv2.circle(picture, (x, y), 6, WHITE, -1)
    if decision.hit is not None:
        cv2.circle(picture, (x, y), 8, GREEN if decision.hit else RED, 3)
    return picture


def _rectangle(image: np.ndarray, box: Any, scale: tuple[float, float], colour: tuple[int, int, int]) -> None:
    """Draws a box given in pixels of the original image; its maximum is exclusive."""
    x0, y0, x1, y1 = (round(value * s) for value, s in zip(box, (*scale, *scale), strict=True))
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 2)


def _caption(phrase: str, protocol: str, width: int) -> np.ndarray:
    """The phrase, as large as there is space for it, and the name of the protocol."""
    strip = np.full((CAPTION, width, 3), 255, np.uint8)
    label_width = cv2.getTextSize(protocol, FONT, 0.4, 1)[0][0]
    cv2.putText(strip, protocol, (width - label_width - MARGIN, 20), FONT, 0.4, GREY, 1, cv2.LINE_AA)
    text = phrase.encode("ascii", "replace").decode()
    text_width = cv2.getTextSize(text, FONT, 0.6, 1)[0][0]
    space = width - label_width - 3 * MARGIN
    font_scale = 0.6 * min(1.0, space / max(1, text_width))
    cv2.putText(strip, text, (MARGIN, 21), FONT, font_scale, DARK, 1, cv2.LINE_AA)
    return strip


class Pictures(Gallery):
    """The image with the true boxes beside the heat map with the point and the predicted box, a file for each
    phrase and a sheet of all.

    Point, box and verdict are those that `GroundingEvaluation` counts under the same protocol; where that
    averages the mentions of a chain, each mention shows the decision on its chain.

    Args:
        count: pictures of each data set.
        per_image: at most so many phrases of one image.
        protocol: name of a preset of `metrics.protocols`: the first of the evaluation's.
        protocol_of: protocols of single data sets, by the set's name, instead of ``protocol``.
        changes: fields of the protocols to set otherwise, as for `GroundingEvaluation`.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch
    singles: ClassVar[bool] = True

    def __init__(
        self,
        count: int = 24,
        per_image: int = 2,
        protocol: str = "clean",
        protocol_of: dict[str, str] | None = None,
        changes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(count)
        self.per_image = per_image
        self.protocol = changed_protocol(protocol, changes)
        self.protocol_of = {
            dataset: changed_protocol(name, changes) for dataset, name in (protocol_of or {}).items()
        }

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, judged: JudgedSet, space: int
    ) -> list[tuple[int, np.ndarray]]:
        """A panel for each of the first phrases of each image."""
        rules = self.protocol_of.get(judged.name, self.protocol)
        heatmaps = model_heatmaps(trainer, pl_module, batch, rules.prompt)
        queries = Queries(batch.sizes, batch.image_of_query, batch.chain_of_query, batch.keys)
        truth = Truth(batch.boxes, judged.source.published_boxes)
        decisions = decide(heatmaps, queries, rules, truth)
        panels = []
        for query in self._chosen(batch.image_of_query.tolist())[:space]:
            image = int(batch.image_of_query[query])
            height, width = batch.sizes[image].tolist()
            panel = draw(
                denormalise(batch.images[image], pl_module.preprocessing),
                batch.phrases[query],
                decisions.on(query),
                batch.boxes[query],
                (height, width),
                rules.name,
            )
            panels.append((image, panel))
        return panels

    def _chosen(self, image_of_query: list[int]) -> list[int]:
        """The first queries of each image, image by image."""
        queries_of_image: dict[int, list[int]] = {}
        for query, image in enumerate(image_of_query):
            queries_of_image.setdefault(image, []).append(query)
        chosen = []
        for queries in queries_of_image.values():
            chosen += queries[: self.per_image]
        return chosen
