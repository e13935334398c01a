"""Images with captions to learn from.

A record that cannot be read never ends an epoch: the next readable one takes its place, and its name and the
reason travel with the batch (``skipped``).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import chain

import numpy as np
from torch.utils.data import Dataset, default_collate

from datamodules.batches import ImageTextBatch, Phrase, Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.base import ImageSource
from datamodules.samplers import EpochSampler
from datamodules.storage.images import augment, resize_square, to_tensor


class CaptionSource(ImageSource):
    """Images with captions."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""

    def sampler(self, batch_size: int, seed: int, rank: int, world_size: int) -> EpochSampler:
        """The order in which a rank is trained on the images."""
        return EpochSampler(len(self), batch_size, seed, rank, world_size)

    def phrases(self, index: int) -> list[Phrase] | None:
        """The noun phrases of all captions where the data set knows them; None where they come from a
        chunker.
        """
        return None


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


def collate_captions(samples: list[tuple]) -> ImageTextBatch:
    """Samples of a `CaptionView` -> a batch whose images are still uint8."""
    images, captions, keys, skipped = zip(*samples, strict=True)
    return ImageTextBatch(
        default_collate(list(images)), list(captions), list(keys), list(chain.from_iterable(skipped))
    )
