"""Sources of training samples seen as torch data sets, and the collation of samples into batches.
(`evaluation_views` has those of evaluation.)

A record that cannot be read never ends an epoch: the next readable one takes its place, and its name and the
    reason travel with the batch
(``skipped``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from torch.utils.data import Dataset, default_collate

from datamodules.batches import ImageTextBatch, Phrase, PhraseBatch, Preprocessing
from datamodules.errors import DataError
from datamodules.pairs import draw_pair
from datamodules.sources import CaptionSource
from datamodules.storage.images import augment, resize_square, to_tensor


@dataclass(frozen=True)
class Augmentation:
    """Training-time changes of an image.

    Args:
        crop_scale: area of the random crop as shares of the image; (1, 1) for none. ALBEF pre-training crops
            (0.2, 1), its fine-tuning (0.5, 1); the stage in which HIST's losses act only resizes (facts of
            SelfEQ's public code, on which HIST builds).
        flip: probability of a horizontal flip. Words such as "left" are not swapped, as in the public codes.
        jitter: brightness, contrast and saturation factors in 1 ± this.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    jitter: float = 0.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return augment(image, rng, self.crop_scale, self.flip, self.jitter)


class TrainingView(Dataset):
    """Base of the training views: item (epoch, index) -> sample, everything random drawn from (seed, epoch,
    index).
    """

    def __init__(
        self, source: CaptionSource, preprocessing: Preprocessing, augmentation: Augmentation, seed: int
    ) -> None:
        self.source, self.preprocessing, self.augmentation, self.seed = (
            source,
            preprocessing,
            augmentation,
            seed,
        )

    def __len__(self) -> int:
        return len(self.source)

    def texts(self, index: int, rng: np.random.Generator) -> tuple | None:
        """What is learnt about image ``index`` this time; None if it offers nothing."""
        raise NotImplementedError

    def __getitem__(self, item: tuple[int, int]) -> tuple:
        epoch, first = item
        skipped: list[str] = []
        for offset in range(len(self)):
            index = (first + offset) % len(self)
            rng = np.random.default_rng([self.seed, epoch, index])
            try:
                texts = self.texts(index, rng)
                if texts is None:
                    continue
                image = resize_square(self.augmentation(self.source.image(index), rng), self.preprocessing)
            except DataError as error:
                skipped.append(f"{self.source.key(index)}\t{error}")
                continue
            return to_tensor(image), *texts, self.source.key(index), skipped
        raise DataError(
            f"no image of {len(self)} gives a training sample; the last reason: {skipped[-1] if skipped else 'no caption has a phrase'}"
        )


class CaptionView(TrainingView):
    """One of the image's captions, each equally likely."""

    def texts(self, index: int, rng: np.random.Generator) -> tuple[str]:
        captions = self.source.captions(index)
        return (captions[int(rng.integers(len(captions)))],)


class PhraseView(TrainingView):
    """A phrase, its subject and a partner (HIST, algorithm 1)."""

    def __init__(
        self, *args: Any, lookup: Callable[[Sequence[str]], list[list[Phrase]]] | None = None
    ) -> None:
        super().__init__(*args)
        self.lookup = lookup

    def texts(
        self, index: int, rng: np.random.Generator
    ) -> tuple[str, str, str | None, frozenset[str]] | None:
        phrases = self.source.phrases(index)
        if phrases is None:
            assert self.lookup is not None, "a source without phrases of its own needs a chunker"
            phrases = [phrase for caption in self.lookup(self.source.captions(index)) for phrase in caption]
        if not phrases:
            return None
        phrase, partner = draw_pair(phrases, rng)
        mentioned = frozenset(text for found in phrases for text in (found.text, found.subject))
        return phrase.text, phrase.subject, partner.text if partner else None, mentioned


# `default_collate` stacks images in memory that a worker shares with the main process; `torch.stack` would
# leave a worker's heap in pieces (1 GiB at 224 px).


def collate_captions(samples: list[tuple]) -> ImageTextBatch:
    """Samples of a `CaptionView` -> a batch whose images are still uint8."""
    images, captions, keys, skipped = zip(*samples, strict=True)
    return ImageTextBatch(
        default_collate(list(images)), list(captions), list(keys), list(chain.from_iterable(skipped))
    )


def collate_phrases(samples: list[tuple]) -> PhraseBatch:
    """Samples of a `PhraseView` -> a batch whose images are still uint8."""
    images, phrases, subjects, partners, mentioned, keys, skipped = zip(*samples, strict=True)
    skipped_lines = list(chain.from_iterable(skipped))
    return PhraseBatch(
        default_collate(list(images)),
        list(phrases),
        list(subjects),
        list(partners),
        list(keys),
        list(mentioned),
        skipped_lines,
    )
