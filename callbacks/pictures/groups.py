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
from callbacks.pictures.grounding import GREEN
from datamodules.batches import SpanBatch
from lightning_modules.capabilities import CanGroupTokens

ROW, MARGIN, LABEL, FONT = 26, 6, 96, cv2.FONT_HERSHEY_SIMPLEX


def draw_groups(
    words: list[str], word_of_token: list[int], soft: np.ndarray, spans: list[tuple[int, int]]
) -> np.ndarray:
    """Groups by words: the darker a cell, the more of the word's tokens is in the group; the likeliest group
    is framed, gold phrases are underlined in green.

    Args:
        words: of the caption. word_of_token: T indices into them.
        soft: (K,T) in [0,1].
        spans: gold phrases over the words, the end exclusive.
    """
    shown = sorted(set(word_of_token))
    columns = np.stack([soft[:, [word == of for of in word_of_token]].mean(axis=1) for word in shown], axis=1)
    texts = [words[word].encode("ascii", "replace").decode() for word in shown]
    widths = [cv2.getTextSize(text, FONT, 0.5, 1)[0][0] + 2 * MARGIN for text in texts]
    left = np.cumsum([LABEL, *widths])
    picture = np.full((ROW * (len(soft) + 1) + MARGIN, int(left[-1]) + MARGIN, 3), 255, np.uint8)
    for group in range(len(soft)):
        cv2.putText(
            picture,
            f"group {group + 1}",
            (MARGIN, ROW * (group + 2) - 8),
            FONT,
            0.5,
            (20, 20, 20),
            1,
            cv2.LINE_AA,
        )
    for column, (word, text) in enumerate(zip(shown, texts, strict=True)):
        x0, x1 = int(left[column]), int(left[column + 1])
        cv2.putText(picture, text, (x0 + MARGIN, ROW - 9), FONT, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
        if any(start <= word < end for start, end in spans):
            cv2.line(
                picture,
                (x0 + MARGIN // 2 * any(start == word for start, _ in spans), ROW - 3),
                (x1 - 1, ROW - 3),
                GREEN,
                2,
            )
        for group, share in enumerate(columns[:, column]):
            top = ROW * (group + 1)
            colour = tuple(int(255 - share * (255 - value)) for value in (40, 90, 190))
            cv2.rectangle(picture, (x0 + 1, top + 1), (x1 - 2, top + ROW - 2), colour, -1)
        top = ROW * (int(columns[:, column].argmax()) + 1)
        cv2.rectangle(picture, (x0 + 1, top + 1), (x1 - 2, top + ROW - 2), (20, 20, 20), 1)
    return picture


def assignments(module: Any, captions: list[str]) -> list[tuple[Tensor, list[int]]]:
    """For each caption the soft assignment (K,T) of its tokens, one-hot for a module that gives groups alone,
    and the word of every token.
    """
    if hasattr(module, "assignments"):
        return module.assignments(captions)
    return [
        (one_hot(torch.tensor(groups, dtype=torch.long)).T.float(), words)
        for groups, words in module.group_tokens(captions)
    ]


class GroupPictures(Gallery):
    """Captions above their groups, on one sheet: how surely each token is in each group, for modules that say
    so by ``assignments``; else its group.

    Args:
        count: captions of each data set; the first process draws them all.
    """

    capability: ClassVar[type] = CanGroupTokens
    batch_type: ClassVar[type] = SpanBatch
    columns: ClassVar[int] = 1

    def __init__(self, count: int = 16) -> None:
        super().__init__(count)

    def draw_batch(
        self, trainer: pl.Trainer, pl_module: Any, batch: SpanBatch, room: int
    ) -> list[np.ndarray]:
        words = batch.words[:room]
        with trainer.precision_plugin.forward_context():
            found = assignments(pl_module, [" ".join(caption) for caption in words])
        return [
            draw_groups(caption, of, soft.float().cpu().numpy(), gold)
            for caption, (soft, of), gold in zip(words, found, batch.spans, strict=False)
            if of
        ]
