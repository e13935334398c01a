"""A gallery of how captions are grouped: the soft assignment of every token to every group, like the paper's
figure 2.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from callbacks.pictures.gallery import Gallery
from callbacks.pictures.grounding import DARK, FONT, GREEN, MARGIN
from datamodules.batches import SpanBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGroupTokens

BLUE = (40, 90, 190)
# Pixels: height of a row, width of the groups' names.
ROW = 26
LABEL = 96


def draw_groups(
    words: list[str], word_of_token: list[int], soft: np.ndarray, spans: list[tuple[int, int]]
) -> np.ndarray:
    """Groups by words: the darker a cell, the more of the word's tokens is in the group; the likeliest group
    is framed, gold phrases are underlined in green.

    Args:
        words: of the caption.
        word_of_token: T indices into them.
        soft: (K,T) in [0, 1], the share of each token in each group.
        spans: gold phrases over the words, the end exclusive.

    Returns:
        (H,W,3) uint8 RGB.
    """
    shown = sorted(set(word_of_token))
    tokens = np.asarray(word_of_token)
    shares = np.stack([soft[:, tokens == word].mean(axis=1) for word in shown], axis=1)
    texts = [words[word].encode("ascii", "replace").decode() for word in shown]
    widths = [cv2.getTextSize(text, FONT, 0.5, 1)[0][0] + 2 * MARGIN for text in texts]
    edges = np.cumsum([LABEL, *widths]).tolist()
    picture = np.full((ROW * (len(soft) + 1) + MARGIN, edges[-1] + MARGIN, 3), 255, np.uint8)
    for group in range(len(soft)):
        _write(picture, f"group {group + 1}", MARGIN, ROW * (group + 2) - 8)
    for column, word in enumerate(shown):
        left, right = edges[column : column + 2]
        _write(picture, texts[column], left + MARGIN, ROW - 9)
        _underline(picture, word, spans, left, right)
        _draw_cells(picture, shares[:, column], left, right)
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(picture, text, (x, y), FONT, 0.5, DARK, 1, cv2.LINE_AA)


def _underline(picture: np.ndarray, word: int, spans: list[tuple[int, int]], left: int, right: int) -> None:
    """A green line under a word of a gold phrase, with a gap before the first one."""
    for start, end in spans:
        if start <= word < end:
            begin = left + MARGIN // 2 if word == start else left
            cv2.line(picture, (begin, ROW - 3), (right - 1, ROW - 3), GREEN, 2)


def _draw_cells(picture: np.ndarray, shares: np.ndarray, left: int, right: int) -> None:
    """A word's column: (K,) shares in [0, 1], a cell for each group."""
    likeliest = int(shares.argmax())
    for group, share in enumerate(shares):
        top = ROW * (group + 1)
        corners = (left + 1, top + 1), (right - 2, top + ROW - 2)
        colour = tuple(int(255 - share * (255 - value)) for value in BLUE)
        cv2.rectangle(picture, *corners, colour, -1)
        if group == likeliest:
            cv2.rectangle(picture, *corners, DARK, 1)


def assignments(module: Any, captions: list[str]) -> list[tuple[Tensor, list[int]]]:
    """How the tokens of captions are assigned to groups.

    Args:
        module: it has a method ``assignments`` that gives what is returned here, or only ``group_tokens``.
        captions: texts.

    Returns:
        For each caption the share of each of its T tokens in each of K groups, (K,T), one-hot for a module
        without ``assignments``; and the word of every token.
    """
    if hasattr(module, "assignments"):
        return module.assignments(captions)
    return [
        (one_hot(torch.tensor(groups, dtype=torch.long)).T.float(), words)
        for groups, words in module.group_tokens(captions)
    ]


class GroupPictures(Gallery):
    """Captions above their groups, on one sheet: how much of each token is in each group, or just its group
    for a module without ``assignments``.

    Args:
        count: captions of each data set.
    """

    capability: ClassVar[type] = CanGroupTokens
    batch_type: ClassVar[type] = SpanBatch
    columns: ClassVar[int] = 1

    def __init__(self, count: int = 16) -> None:
        super().__init__(count)

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: SpanBatch, judged: JudgedSet, space: int
    ) -> list[tuple[int, np.ndarray]]:
        """A panel for each of the first captions; none for a caption without tokens."""
        captions = batch.words[:space]
        with trainer.precision_plugin.forward_context():
            assigned = assignments(pl_module, [" ".join(words) for words in captions])
        panels = []
        samples = zip(captions, assigned, batch.spans[:space], strict=True)
        for sample, (words, (soft, word_of_token), spans) in enumerate(samples):
            if word_of_token:
                picture = draw_groups(words, word_of_token, soft.float().cpu().numpy(), spans)
                panels.append((sample, picture))
        return panels
