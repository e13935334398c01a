"""What all kinds of samples share: records by index, and how samples to be judged are read and collated.

A record that cannot be read is left out, and its name and the reason travel with the batch (``skipped``). Images
of a batch are still uint8.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from datamodules.batches import Preprocessing
from datamodules.errors import DataError
from datamodules.storage.images import resize_square, to_tensor


class Source(ABC):
    """Records by index.

    Attributes:
        broken: a line (name, tab, reason) for each record that opening the source had to leave out.
    """

    broken: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of records; of images, where the records are images."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Name of a record, unique within the data set."""

    @property
    def number_of_queries(self) -> int | None:
        """What is asked in all (phrases, questions, pairs), if it is not the number of records and known
        without reading all of them.
        """
        return None


class ImageSource(Source):
    """Images by index."""

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""


S = TypeVar("S", bound=Source)


Size = tuple[int, int]


class EvaluationView(Dataset, Generic[S]):
    """Item index -> (sample or None, lines of what was left out).

    Attributes:
        batch_type: what collation makes of its samples.
    """

    batch_type: ClassVar[type]

    def __init__(self, source: S, preprocessing: Preprocessing) -> None:
        self.source, self.preprocessing = source, preprocessing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[tuple | None, list[str]]:
        try:
            return self.read(index)
        except DataError as error:
            return None, [f"{self.source.key(index)}\t{error}"]

    def read(self, index: int) -> tuple[tuple | None, list[str]]:
        """The sample, and what of it had to be left out. Raises `DataError` if all of it is unreadable."""
        raise NotImplementedError

    def resize(self, image: np.ndarray) -> Tensor:
        return to_tensor(resize_square(image, self.preprocessing))


def gather(samples: list[tuple[tuple | None, list[str]]]) -> tuple[list[tuple], list[str]]:
    """The samples that could be read, and all that was left out."""
    return [sample for sample, _ in samples if sample is not None], list(
        chain.from_iterable(lines for _, lines in samples)
    )


def columns(samples: Sequence[tuple], number: int) -> list[list]:
    """``number`` lists of the samples' members, empty ones if there is no sample."""
    return [list(column) for column in zip(*samples, strict=True)] if samples else [[] for _ in range(number)]


def stack(images: Sequence[Tensor]) -> Tensor:
    return default_collate(list(images)) if images else torch.zeros(0, 3, 1, 1, dtype=torch.uint8)


def size_of(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]


def as_sizes(sizes: Sequence[Size]) -> Tensor:
    return torch.tensor(sizes, dtype=torch.long).reshape(-1, 2)


@dataclass(frozen=True)
class Kind:
    """A kind of samples to be judged on.

    Args:
        source: what a data set of this kind implements.
        view: reads its samples.
        collate: makes a batch of them.
    """

    source: type[Source]
    view: type[EvaluationView[Any]]
    collate: Callable[[list], Any]
