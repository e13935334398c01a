"""What a data set has to offer: images with captions to learn from, or something to be judged on.

A new data set implements one or both of these; sampling, resizing, batching, skipping and distribution are
done once, in `views` and `base`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from datamodules.batches import Phrase
from datamodules.samplers import EpochSampler


@dataclass
class Query:
    """A phrase to be found in an image.

    Args:
        phrase: the text.
        boxes: (K,4) float32 ``xyxy`` in pixels of the original image, 0-based, maximum exclusive.
        key: unique within the data set.
        chain: queries of one image with the same chain name the same thing.
        mask: (H,W) bool at original size, where the data set has masks.
    """

    phrase: str
    boxes: np.ndarray
    key: str
    chain: str
    mask: np.ndarray | None = None

    def fault(self, height: int, width: int) -> str | None:
        """Why this query cannot be asked of an image of that size, or None if it can.

        A box that only sticks out of the image is no fault. Neither is having no box: such a query can be
        answered, but is not judged.
        """
        boxes = np.asarray(self.boxes, dtype=np.float64).reshape(-1, 4)
        if not self.phrase.strip():
            return "the phrase is empty"
        if not np.isfinite(boxes).all():
            return f"a box is not finite: {boxes.tolist()}"
        if (boxes[:, 0] >= boxes[:, 2]).any() or (boxes[:, 1] >= boxes[:, 3]).any():
            return f"a box is empty or inverted: {boxes.tolist()}"
        if (
            (boxes[:, 0] >= width).any()
            or (boxes[:, 1] >= height).any()
            or (boxes[:, 2] <= 0).any()
            or (boxes[:, 3] <= 0).any()
        ):
            return f"a box lies outside the image of {width}x{height}: {boxes.tolist()}"
        return None


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


class GroundingSource(ImageSource):
    """Images with queries.

    Attributes:
        published_boxes: how the publisher writes boxes, ``corners`` or ``xywh``; reference protocols treat
            them differently (`metrics.protocols`).
    """

    published_boxes: Literal["corners", "xywh"] = "corners"

    @abstractmethod
    def queries(self, index: int) -> list[Query]:
        """The queries of an image; at least one. Raises `DataError` if its annotation is broken."""


class SpanSource(Source):
    """Captions with the phrases that a human marked."""

    @abstractmethod
    def words(self, index: int) -> list[str]:
        """The caption's words."""

    @abstractmethod
    def spans(self, index: int) -> list[tuple[int, int]]:
        """(start, end) of each marked phrase over the words, the end exclusive."""


class SegmentationSource(ImageSource):
    """Images with a class for every pixel.

    Attributes:
        class_names: by label; the first is ``background`` where the data set has one.
    """

    class_names: tuple[str, ...]

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(H,W) uint8 at original size; `IGNORED` where nothing is asked. Raises `DataError` if it cannot be
        read.
        """


class TagSource(ImageSource):
    """Images with a caption whose words are marked as tags (something to be seen) or not."""

    @abstractmethod
    def words(self, index: int) -> list[str]:
        """The caption's words."""

    @abstractmethod
    def tags(self, index: int) -> list[bool]:
        """For each word, whether it is a tag."""

    def masks(self, index: int) -> np.ndarray | None:
        """(T,H,W) bool at original size, the region of each tagged word in order; None where the data set has
        no masks.
        """
        return None


class LabelSource(ImageSource):
    """Images and which of the named classes they show."""

    class_names: tuple[str, ...]

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """(C,) bool."""


class RankedPair(NamedTuple):
    """(image, text) twice, the first of which belongs together; images by their names."""

    positive: tuple[str, str]
    negative: tuple[str, str]
    group: str


class PairRankSource(Source):
    """Pairs of which one must score higher: a text with two images, or an image with two texts."""

    @abstractmethod
    def pair(self, index: int) -> RankedPair:
        """The pair and the group in which it is counted."""

    @abstractmethod
    def image_named(self, name: str) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""


class RetrievalSource(ImageSource):
    """Images, each to be found by its captions and the other way round."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """The captions of an image; at least one."""


class Question(NamedTuple):
    """A question, its answers with their weights in [0,1], and its key."""

    text: str
    answers: dict[str, float]
    key: str


class QuestionSource(ImageSource):
    """Images with questions."""

    @abstractmethod
    def questions(self, index: int) -> list[Question]:
        """The questions of an image; at least one."""


EvaluationSource = (
    GroundingSource
    | SpanSource
    | SegmentationSource
    | TagSource
    | LabelSource
    | PairRankSource
    | RetrievalSource
    | QuestionSource
)
