"""A gallery of captions with coloured tags, above the map of the caption and those of its tags."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import lightning.pytorch as pl
import numpy as np
import torch

from callbacks.pictures.gallery import Gallery
from callbacks.pictures.grounding import DARK, FONT, GREY, MARGIN, ORANGE, RED, overlay
from callbacks.soft_masks import PRESETS, images_without_padding, soft_masks
from datamodules.batches import TagBatch, denormalise
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanScoreTags, CanSegment, require

HIT = (20, 140, 40)  # a green that can be read on white
# Pixels: side of a map, height of a line of text.
SIDE = 192
LINE = 24
MAPS = 4  # of tags, beside the image and the map of the caption


def word_colour(tag: bool, selected: bool, judged: bool) -> tuple[int, int, int]:
    """Green for a tag that is selected, orange for one that is missed, red for a false one, grey for a
    selected word of which nothing is known, and dark for all others.

    Example:
        >>> word_colour(tag=True, selected=False, judged=True) == ORANGE
        True
    """
    if not judged:
        return GREY if selected else DARK
    if tag:
        return HIT if selected else ORANGE
    return RED if selected else DARK


def write_words(words: list[str], colours: list[tuple[int, int, int]], width: int) -> np.ndarray:
    """Words in colours, in as many lines as they need: (H,width,3) uint8 RGB."""
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    x = MARGIN
    for word, colour in zip(words, colours, strict=True):
        text = word.encode("ascii", "replace").decode()
        length = cv2.getTextSize(f"{text} ", FONT, 0.5, 1)[0][0]
        if x + length > width and lines[-1]:
            lines.append([])
            x = MARGIN
        lines[-1].append((x, text, colour))
        x += length
    strip = np.full((LINE * len(lines) + MARGIN, width, 3), 255, np.uint8)
    for number, line in enumerate(lines, start=1):
        for x, text, colour in line:
            cv2.putText(strip, text, (x, LINE * number - MARGIN), FONT, 0.5, colour, 1, cv2.LINE_AA)
    return strip


def draw_tags(
    image: np.ndarray, words: list[str], colours: list[tuple[int, int, int]], maps: dict[str, np.ndarray]
) -> np.ndarray:
    """One panel: the words, and below them the image and the maps.

    Args:
        image: (H,W,3) uint8 RGB.
        words: of the caption.
        colours: of the words.
        maps: (h,w) in [0,1] by name.

    Returns:
        (H,W,3) uint8 RGB.
    """
    small = np.ascontiguousarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    tiles = [_named(small, "")]
    for name, soft in maps.items():
        full = cv2.resize(soft, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        tiles.append(_named(overlay(small, full.clip(0, 1)), name))
    tiles += [np.full_like(tiles[0], 255)] * (MAPS + 2 - len(tiles))
    row = np.concatenate(tiles, axis=1)
    return np.concatenate([write_words(words, colours, row.shape[1]), row])


def _named(tile: np.ndarray, name: str) -> np.ndarray:
    strip = np.full((LINE, SIDE, 3), 255, np.uint8)
    text = name.encode("ascii", "replace").decode()
    cv2.putText(strip, text, (MARGIN, LINE - 8), FONT, 0.45, DARK, 1, cv2.LINE_AA)
    return np.concatenate([strip, tile])


class TagPictures(Gallery):
    """Captions with coloured tags (`word_colour`), the map of each caption, and those of the tags that the
    module selects.

    Args:
        count: captions of each data set.
    """

    capability: ClassVar[type] = CanScoreTags
    batch_type: ClassVar[type] = TagBatch
    columns: ClassVar[int] = 1

    def __init__(self, count: int = 12) -> None:
        super().__init__(count)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Also checks that the module gives maps. Raises `ModelError` if it does not."""
        super().setup(trainer, pl_module, stage)
        require(pl_module, CanSegment, type(self).__name__)

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: TagBatch, judged: JudgedSet, space: int
    ) -> list[tuple[int, np.ndarray]]:
        """A panel for each of the first captions."""
        captions = batch.words[:space]
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            scored = pl_module.score_tags(batch.images[:space], captions, ["pixel"])["pixel"]
        panels = []
        for number, (image, words) in enumerate(zip(images_without_padding(batch), captions, strict=False)):
            selected = scored[number].selected.tolist()
            judged_words = batch.judged[number] if batch.judged else [True] * len(words)
            marks = zip(batch.tags[number], selected, judged_words, strict=True)
            colours = [word_colour(*mark) for mark in marks]
            tags = list(dict.fromkeys(word for word, chosen in zip(words, selected, strict=True) if chosen))
            texts = [" ".join(words), *tags[:MAPS]]
            soft = soft_masks(trainer, pl_module, image, texts, False, PRESETS["plain"]).cpu().numpy()
            maps = dict(zip(["the caption", *tags[:MAPS]], soft, strict=True))
            picture = draw_tags(denormalise(image, pl_module.preprocessing), words, colours, maps)
            panels.append((number, picture))
        return panels
