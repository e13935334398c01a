"""Several models side by side on one photograph: what the page of `python cli.py show` displays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from PIL import Image

from callbacks.pictures.grounding import draw_decision
from datamodules.batches import Preprocessing
from datamodules.chunkers.rules import RuleChunker
from datamodules.errors import DataError
from datamodules.storage.images import opened_image, read_image, resize_image
from lightning_modules.capabilities import CanGroupTokens, CanScoreTags
from lightning_modules.errors import ModelError
from metrics.decisions import Decision
from metrics.protocols import changed_protocol
from weakground.grounder import Grounder, decide_on

MOST_PIXELS = 40_000_000  # of a photograph
MOST_PHRASES = 8
MOST_LETTERS = 400  # of a text
# How a photograph is brought to the size at which it is shown.
SHOWN = Preprocessing(360, (0.0,) * 3, (1.0,) * 3, resize="short_side", longest_side=640)
NO_BOXES = torch.zeros(0, 4)


@dataclass(frozen=True)
class Words:
    """What a model says of the words of a caption.

    Attributes:
        groups: the group of each word, None for one that is cut off; None if the model does not group words.
        tags: whether each word is seen in the photograph; None if the model cannot tell.
    """

    groups: list[int | None] | None
    tags: list[bool] | None


@dataclass(frozen=True)
class Answer:
    """What several models find in a photograph.

    Attributes:
        image: (h,w,3) uint8 RGB, the photograph at the size at which it is shown.
        size: height and width of the photograph itself, in pixels.
        phrases: Q texts.
        caption: words of the caption that the phrases come from; empty if there was none.
        decisions: for each model that can ground, by name, Q decisions in pixels of the photograph.
        words: for each model, by name, that has something to say of the caption's words.
        complaints: by name, why a model found nothing.
    """

    image: np.ndarray
    size: tuple[int, int]
    phrases: list[str]
    caption: list[str]
    decisions: dict[str, list[Decision]] = field(default_factory=dict)
    words: dict[str, Words] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)

    def at(self, threshold: float) -> Self:
        """The same maps with boxes at another threshold.

        Args:
            threshold: what belongs to a box, see `metrics.protocols.Protocol.box_threshold`.
        """
        decisions = {}
        for name, of_model in self.decisions.items():
            maps = torch.stack([decision.heatmap for decision in of_model])
            decisions[name] = _decisions(maps, self.size, threshold)
        return replace(self, decisions=decisions)

    def picture(self, model: str, query: int) -> np.ndarray:
        """A phrase's heat map over the photograph, with point and box: (h,w,3) uint8 RGB."""
        return draw_decision(self.image, self.decisions[model][query], NO_BOXES, self.size)


class Comparison:
    """Models that are asked the same.

    Args:
        models: by the names under which they are shown.
    """

    def __init__(self, models: Mapping[str, Grounder]) -> None:
        self.models = dict(models)
        self._chunker = RuleChunker()

    def ask(self, image: np.ndarray, text: str, is_caption: bool, threshold: float = 0.5) -> Answer:
        """Finds phrases in a photograph.

        Args:
            image: (H,W,3) uint8 RGB.
            text: phrases, one on each line; or a caption, whose noun phrases are sought.
            is_caption: which of them.
            threshold: what belongs to a box, see `metrics.protocols.Protocol.box_threshold`.

        Raises:
            DataError: the text is empty, too long, or has too many phrases or none.
        """
        caption = text.split() if is_caption else []
        phrases = self._phrases(text, is_caption)
        size = (image.shape[0], image.shape[1])
        answer = Answer(resize_image(image, SHOWN), size, phrases, caption)
        for name, model in self.models.items():
            words = _words(model, image, caption)
            if words is not None:
                answer.words[name] = words
            try:
                maps = model.heatmaps(image, phrases)
            except ModelError as error:
                answer.complaints[name] = str(error)
            else:
                answer.decisions[name] = _decisions(maps, size, threshold)
        return answer

    def _phrases(self, text: str, is_caption: bool) -> list[str]:
        """What is sought. Raises `DataError`."""
        if not text.strip():
            raise DataError("Nothing is sought yet: write what is to be found, such as 'the red ball'.")
        if len(text) > MOST_LETTERS:
            raise DataError(f"The text has {len(text)} letters; write at most {MOST_LETTERS}.")
        if is_caption:
            phrases = [phrase.text for phrase in self._chunker([" ".join(text.split())])[0]]
            if not phrases:
                raise DataError(
                    f"'{text.strip()}' names nothing that could be found: write a caption such as 'a dog "
                    "chases a ball on the grass', or choose phrases."
                )
        else:
            phrases = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        phrases = list(dict.fromkeys(phrases))
        if len(phrases) > MOST_PHRASES:
            raise DataError(f"These are {len(phrases)} phrases; write at most {MOST_PHRASES} at a time.")
        return phrases


def _decisions(maps: torch.Tensor, size: tuple[int, int], threshold: float) -> list[Decision]:
    """By the rules ``clean``, but for the threshold."""
    decisions = decide_on(maps, size, changed_protocol("clean", {"box_threshold": threshold}))
    return [decisions.on(query) for query in range(len(maps))]


def _words(model: Grounder, image: np.ndarray, caption: list[str]) -> Words | None:
    """What a model says of the words of a caption; None if it has nothing to say."""
    if not caption:
        return None
    text = " ".join(caption)
    groups = None
    tags = None
    if isinstance(model.module, CanGroupTokens):
        try:
            groups = model.groups(text)
        except ModelError:  # a text encoder without groups
            groups = None
    if isinstance(model.module, CanScoreTags):
        tags = model.tags(image, text)
    return None if groups is None and tags is None else Words(groups, tags)


def read_photo(file: Path | BinaryIO, name: str) -> np.ndarray:
    """Reads a photograph that somebody has chosen: (H,W,3) uint8 RGB.

    Args:
        file: its path, or the open file.
        name: what messages call it.

    Raises:
        DataError: it is no image, damaged, or larger than `MOST_PIXELS`.
    """
    try:
        with opened_image(file, "an image", name) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise DataError(_too_large(name, f"{image.width}x{image.height} pixels"))
    except DataError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise DataError(_too_large(name, "an enormous number of pixels")) from error
        raise
    if not isinstance(file, Path):
        file.seek(0)
    return read_image(file, name)


def _too_large(name: str, pixels: str) -> str:
    return f"{name} has {pixels}; make it smaller, to at most {MOST_PIXELS // 1_000_000} million pixels."
