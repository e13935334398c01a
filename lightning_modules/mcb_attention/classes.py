"""What both stages of MCB attention share: classes that are words, and labels that are read from captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.batches import ImageTextBatch, Preprocessing
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.mcb_attention.options import ImageOptions
from lightning_modules.optimisation import Optimisation


class WordClassModule(WeakgroundModule):
    """Base of the methods whose K classes are words.

    Args:
        words: the classes. A caption says which of them its image shows, and nothing of where.
        images: how images are made ready.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from.
    """

    train_batch: ClassVar[type] = ImageTextBatch

    def __init__(
        self, words: Sequence[str], images: ImageOptions, optimisation: Optimisation, pretrained: Path | None
    ) -> None:
        super().__init__(optimisation, pretrained)
        self.words = tuple(words)
        self.preprocessing = Preprocessing(images.size, images.mean, images.std, "bilinear")

    def labels(self, captions: Sequence[str]) -> Tensor:
        """(B,K) bool: which of the words each of B captions has."""
        rows = []
        for caption in captions:
            caption_words = set(re.findall(r"\w+", caption.lower()))
            rows.append([word in caption_words for word in self.words])
        return torch.tensor(rows, device=self.device)

    def classes(self, phrases: Sequence[str]) -> Tensor:
        """(Q,) long: the class of each phrase, which has exactly one of the words in it ("seven", "a seven").

        Raises:
            ModelError: a phrase has none, or several.
        """
        labels = self.labels(phrases).view(len(phrases), len(self.words))
        for phrase, count in zip(phrases, labels.sum(1).tolist(), strict=True):
            if count != 1:
                raise ModelError(
                    f"the phrase {phrase!r} has {count} of the words that this model knows; ask for one of "
                    f"{', '.join(self.words)}."
                )
        return labels.int().argmax(1)

    def black(self, device: torch.device) -> Tensor:
        """What a black pixel is for the model: (3,1,1)."""
        mean = torch.tensor(self.preprocessing.mean, device=device).view(3, 1, 1)
        return -mean / self.pixel_std(device)

    def pixel_std(self, device: torch.device) -> Tensor:
        """By which pixels were divided: (3,1,1)."""
        return torch.tensor(self.preprocessing.std, device=device).view(3, 1, 1)
