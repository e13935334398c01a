"""A gallery of what a module grounds: the image, the phrase, the heat map, the boxes, the point."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from callbacks.pictures.gallery import Gallery
from datamodules.batches import GroundingBatch, Preprocessing
from lightning_modules.capabilities import CanGround
from metrics.boxes import boxes_from_heatmap, union_box
from metrics.pointing_game import peak_points

GREEN, ORANGE, WHITE = (60, 220, 60), (255, 150, 30), (255, 255, 255)
HEIGHT, CAPTION = 288, 30


def denormalise(image: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """(3,S,S) as the model takes it -> (S,S,3) uint8 RGB."""
    mean, std = (
        torch.tensor(values, device=image.device).view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return ((image * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 and (H,W) in [0,1] -> the image under a transparent heat map; cold places stay dark and
    unchanged in hue.
    """
    colours = cv2.cvtColor(
        cv2.applyColorMap((255 * heatmap).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB
    )
    weight = (0.25 + 0.5 * heatmap)[..., None]
    return (image * (1 - weight) + colours * weight).astype(np.uint8)


def draw(image: np.ndarray, phrase: str, heatmap: Tensor, boxes: Tensor, size: tuple[int, int]) -> np.ndarray:
    """One panel: left the image with the true boxes (green), right the heat map with the point (white; green
    ring: hit) and the predicted box (orange).

    Args:
        image: (S,S,3) uint8, as the model saw it.
        heatmap: (h,w) in [0,1].
        boxes: (K,4) in pixels of the original image; K may be 0.
        size: height and width of the original image.
    """
    height, width = HEIGHT, max(96, min(2 * HEIGHT, round(HEIGHT * size[1] / size[0])))
    left = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    resized = (
        interpolate(heatmap[None, None].float(), size=(height, width), mode="bicubic")[0, 0].clamp(0, 1).cpu()
    )
    right = overlay(left, resized.numpy())
    scale = torch.tensor([width / size[1], height / size[0]] * 2)
    left, truth = np.ascontiguousarray(left), (boxes.cpu() * scale).round().int().tolist()
    y, x = peak_points(heatmap[None].cpu(), (height, width))[0].tolist()
    hit = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in truth)
    found = boxes_from_heatmap(resized, "clean")
    if len(found):
        x0, y0, x1, y1 = union_box(torch.from_numpy(found[None, :, :4]))[0].round().int().tolist()
        cv2.rectangle(right, (x0, y0), (x1 - 1, y1 - 1), ORANGE, 2)
    for x0, y0, x1, y1 in truth:
        for panel in (left, right):
            cv2.rectangle(panel, (x0, y0), (x1 - 1, y1 - 1), GREEN, 2)
    cv2.circle(right, (x, y), 6, WHITE, -1)
    if truth:
        cv2.circle(right, (x, y), 8, GREEN if hit else (230, 40, 40), 3)
    panel = np.concatenate([left, np.full((height, 4, 3), 255, np.uint8), right], axis=1)
    strip = np.full((CAPTION, panel.shape[1], 3), 255, np.uint8)
    text = phrase.encode("ascii", "replace").decode()
    fit = min(
        0.6,
        0.6 * (panel.shape[1] - 12) / max(1, cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0]),
    )
    cv2.putText(strip, text, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, fit, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([strip, panel])


class Pictures(Gallery):
    """The image with the true boxes beside the heat map with the point and the predicted box, a file for each
    phrase and a sheet of all.

    Args:
        count: pictures of each data set; the first process draws them all.
        per_image: at most so many phrases of one image.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch
    singles: ClassVar[bool] = True

    def __init__(self, count: int = 24, per_image: int = 2) -> None:
        super().__init__(count)
        self.per_image = per_image

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, room: int
    ) -> list[np.ndarray]:
        of_image: dict[int, list[int]] = {}
        for query, image in enumerate(batch.image_of_query.tolist()):
            of_image.setdefault(image, []).append(query)
        chosen = [query for queries in of_image.values() for query in queries[: self.per_image]][:room]
        with trainer.precision_plugin.forward_context():
            heatmaps = pl_module.ground(
                batch.images, [batch.phrases[query] for query in chosen], batch.image_of_query[chosen]
            )
        panels = []
        for query, heatmap in zip(chosen, heatmaps, strict=True):
            image = int(batch.image_of_query[query])
            height, width = batch.sizes[image].tolist()
            seen = denormalise(batch.images[image], pl_module.preprocessing)
            panels.append(draw(seen, batch.phrases[query], heatmap, batch.boxes[query], (height, width)))
        return panels
