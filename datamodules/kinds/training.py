"""What all kinds of training samples share.

A record that cannot be read never ends an epoch: the next readable one takes its place, and its name and the
reason travel with the batch (``skipped``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.batches import ImageBatch, Phrase, Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.base import ImageSource, Source, stack
from datamodules.samplers import EpochSampler
from datamodules.skips import LEFT_OUT
from datamodules.storage.features import Features
from datamodules.storage.images import augment, resize_for_training, resize_image, to_tensor

# Finds the noun phrases of each of several captions.
FindPhrases = Callable[[Sequence[str]], list[list[Phrase]]]


class TrainingSource(Source):
    """Records to learn from."""

    def sampler(self, batch_size: int, seed: int, rank: int, world_size: int) -> EpochSampler:
        """The order in which a rank is trained on the records."""
        return EpochSampler(len(self), batch_size, seed, rank, world_size)

    def phrases(self, index: int) -> list[Phrase] | None:
        """The noun phrases of all captions of a record; None where they come from a chunker."""
        return None


@dataclass(frozen=True)
class Augmentation:
    """Training-time changes of an image that leave its captions true.

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
        """(H,W,3) uint8 -> (h,w,3) uint8, changed at random."""
        return augment(image, rng, self.crop_scale, self.flip, self.jitter)


T = TypeVar("T", bound=TrainingSource)


B = TypeVar("B", bound=ImageBatch)


def collate_training(batch: type[B], samples: list[tuple]) -> B:
    """Samples of a `TrainingView` -> a batch whose images are still uint8.

    Args:
        batch: its kind; its fields after the images stand in the order of the samples' members.
        samples: at least one.
    """
    images, *members, skipped = zip(*samples, strict=True)
    stacked, extents = stack(images)
    lists = [list(member) for member in members]
    return batch(stacked, *lists, extents=extents, skipped=list(chain.from_iterable(skipped)))


class UnchangedImages(Dataset):
    """The images of a source, as large as in training but not changed otherwise, to compute features of.

    Item index -> (3,h,w) uint8, or why the image cannot be read.

    Args:
        source: the images.
        preprocessing: of the model.
        indices: which of them.
    """

    def __init__(self, source: ImageSource, preprocessing: Preprocessing, indices: Sequence[int]) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.indices = indices
        window = preprocessing.training
        self.size = window.crop if window else preprocessing.image_size

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Tensor | str:
        index = self.indices[position]
        try:
            return to_tensor(resize_image(self.source.image(index), self.preprocessing, self.size))
        except DataError as error:
            return str(error)


class TrainingView(Dataset, Generic[T]):
    """Item (epoch, index) -> sample, everything random drawn from (seed, epoch, index).

    A sample is a tuple: its image (or what stands in for it), its texts, its key, and the lines of records
    that had to be passed over.

    Args:
        source: the records.
        preprocessing: of the model.
        augmentation: changes of the images.
        seed: of everything that is drawn.
        find_phrases: finds the phrases of captions, where the source does not know them.
        features: stored features of the images, which are then not looked at.

    Attributes:
        needs_phrases: whether its samples are made of the phrases of captions.
        without: what is missing where a record offers nothing to learn from.
    """

    needs_phrases: ClassVar[bool] = False
    without: ClassVar[str] = "no phrase in its captions"

    def __init__(
        self,
        source: T,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        find_phrases: FindPhrases | None = None,
        features: Features | None = None,
    ) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.find_phrases = find_phrases
        self.features = features

    def __len__(self) -> int:
        return len(self.source)

    def texts(self, index: int, rng: np.random.Generator) -> tuple | None:
        """What is learnt about record ``index`` this time; None if it offers nothing."""
        raise NotImplementedError

    def image(self, index: int, rng: np.random.Generator) -> Tensor:
        """(3,h,w) uint8, augmented and resized, or (F,) float16 features.

        Raises:
            DataError: it cannot be read.
        """
        if self.features is not None:
            return torch.from_numpy(self.features.row(index))
        augmented = self.augmentation(self.source.image(index), rng)  # type: ignore[attr-defined]
        return to_tensor(resize_for_training(augmented, self.preprocessing, rng))

    def members(self, index: int, rng: np.random.Generator) -> tuple | None:
        """The image of record ``index`` and what is learnt about it; None if it offers nothing.

        Raises:
            DataError: it cannot be read.
        """
        texts = self.texts(index, rng)
        return None if texts is None else (self.image(index, rng), *texts)

    def __getitem__(self, item: tuple[int, int]) -> tuple:
        epoch, first = item
        skipped: list[str] = []
        for offset in range(len(self)):
            index = (first + offset) % len(self)
            rng = np.random.default_rng([self.seed, epoch, index])
            try:
                members = self.members(index, rng)
            except DataError as error:
                skipped.append(f"{self.source.key(index)}\t{error}")
                continue
            if members is None:
                skipped.append(f"{self.source.key(index)}\t{LEFT_OUT}{self.without}")
                continue
            return *members, self.source.key(index), skipped
        raise DataError(f"no image of {len(self)} gives a training sample; the last reason: {skipped[-1]}")
