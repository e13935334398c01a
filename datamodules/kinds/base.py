"""What all kinds of samples share: records by index, and how samples to be judged are read and collated.

A record that cannot be read is left out, and its name and the reason travel with the batch (``skipped``).
Images of a batch are still uint8.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from datamodules.batches import Batch, Preprocessing
from datamodules.errors import DataError
from datamodules.storage.images import resize_image, to_tensor

Size = tuple[int, int]
# What a view to be judged on gives: a sample, or None where it is unreadable, and lines of what was left out.
JudgedSample = tuple[tuple | None, list[str]]


class Source(ABC):
    """Records by index.

    Attributes:
        broken: a line (name, tab, reason) for each record that opening the source had to leave out.
        left_out: by reason, how many more records opening it left out, which are sound, but of no use.
    """

    broken: Sequence[str] = ()
    left_out: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Number of records; of images, where the records are images."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Name of a record, unique within the data set."""

    @property
    def number_of_queries(self) -> int | None:
        """What is asked in all (phrases, questions, pairs).

        None if it is the number of records, or unknown without reading all of them.
        """
        return None

    def sample_keys(self, index: int) -> list[str]:
        """Under which names a record is counted when it is judged: its own, or those of all that is asked."""
        return [self.key(index)]

    @property
    def number_of_samples(self) -> int:
        """How many `sample_keys` there are in all."""
        return len(self)


class ImageSource(Source):
    """Images by index."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""


S = TypeVar("S", bound=Source)


class EvaluationView(Dataset, Generic[S]):
    """Item index -> (sample or None, lines of what was left out).

    Args:
        source: the records.
        preprocessing: of the model.
    """

    def __init__(self, source: S, preprocessing: Preprocessing) -> None:
        self.source = source
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> JudgedSample:
        try:
            return self.read(index)
        except DataError as error:
            return None, [f"{name}\t{error}" for name in self.source.sample_keys(index)]

    def read(self, index: int) -> JudgedSample:
        """The sample, and what of it had to be left out. Raises `DataError` if all of it is unreadable."""
        raise NotImplementedError

    def resize(self, image: np.ndarray) -> Tensor:
        """(H,W,3) uint8 -> (3,h,w) uint8 of the size that the model takes."""
        return to_tensor(resize_image(image, self.preprocessing))


@dataclass(frozen=True)
class Kind:
    """A kind of samples, to learn from or to be judged on.

    Args:
        batch: what collation makes of its samples.
        source: what a data set of this kind implements.
        view: reads its samples; an `EvaluationView` or a `datamodules.kinds.training.TrainingView`.
        collate: makes a batch of them.
    """

    batch: type[Batch]
    source: type[Any]
    view: type[Any]
    collate: Callable[[list], Batch]


def gather(samples: Sequence[JudgedSample]) -> tuple[list[tuple], list[str]]:
    """The samples that could be read, and all lines of what was left out."""
    readable = [sample for sample, _ in samples if sample is not None]
    skipped = list(chain.from_iterable(lines for _, lines in samples))
    return readable, skipped


def columns(samples: Sequence[tuple], number: int) -> list[list]:
    """``number`` lists of the samples' members, empty ones if there is no sample."""
    if not samples:
        return [[] for _ in range(number)]
    return [list(column) for column in zip(*samples, strict=True)]


def stack(images: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """One tensor of several images, each padded at the bottom and on the right to the largest of them.

    Args:
        images: N uint8 tensors (3,h,w).

    Returns:
        (N,3,H,W) uint8, and the extents of the images in it, see `datamodules.batches.ImageBatch`; None if
        nothing had to be padded.

    Example:
        >>> wide, tall = torch.zeros(3, 2, 5), torch.zeros(3, 4, 1)
        >>> images, extents = stack([wide, tall])
        >>> images.shape, extents.tolist()
        (torch.Size([2, 3, 4, 5]), [[2, 5], [4, 1]])
    """
    if not images:
        return torch.zeros(0, 3, 1, 1, dtype=torch.uint8), None
    if len({image.shape for image in images}) == 1:
        return default_collate(list(images)), None
    extents = as_sizes([(image.shape[1], image.shape[2]) for image in images])
    height, width = extents.amax(dim=0).tolist()
    padded = images[0].new_zeros(len(images), 3, height, width)
    for image, target in zip(images, padded, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return padded, extents


def size_of(image: np.ndarray) -> Size:
    """Height and width in pixels."""
    return image.shape[0], image.shape[1]


def as_sizes(sizes: Sequence[Size]) -> Tensor:
    """(N,2) long, also where N is 0."""
    return torch.tensor(sizes, dtype=torch.long).reshape(-1, 2)
