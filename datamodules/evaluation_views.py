"""What is judged, seen as torch data sets, and the collation of samples into batches: a view for each kind of
source.

A record that cannot be read is left out, and its name and the reason travel with the batch (``skipped``).
Images of a batch are still uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from datamodules.batches import (
    GroundingBatch,
    LabelBatch,
    PairRankBatch,
    Preprocessing,
    QuestionBatch,
    RetrievalBatch,
    SegmentationBatch,
    SpanBatch,
    TagBatch,
)
from datamodules.errors import DataError
from datamodules.sources import (
    EvaluationSource,
    GroundingSource,
    LabelSource,
    PairRankSource,
    Query,
    QuestionSource,
    RetrievalSource,
    SegmentationSource,
    Source,
    SpanSource,
    TagSource,
)
from datamodules.storage.images import resize_square, to_tensor

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


class GroundingView(EvaluationView[GroundingSource]):
    """An image and its sound queries."""

    batch_type = GroundingBatch

    def read(self, index: int) -> tuple[tuple | None, list[str]]:
        queries, image = self.source.queries(index), self.source.image(index)
        height, width = size_of(image)
        faults = [(query, query.fault(height, width)) for query in queries]
        skipped = [f"{query.key}\t{query.phrase!r}: {fault}" for query, fault in faults if fault]
        sound = [query for query, fault in faults if not fault]
        return (self.resize(image), sound, (height, width)) if sound else None, skipped


def collate_queries(samples: list[tuple[tuple | None, list[str]]]) -> GroundingBatch:
    """Samples of a `GroundingView` -> a batch."""
    read, skipped = gather(samples)
    queries: list[tuple[int, Query]] = [
        (n, query) for n, (_, of_image, _) in enumerate(read) for query in of_image
    ]
    chains: dict[tuple[int, str], int] = {}
    chain_of_query = [chains.setdefault((n, query.chain), len(chains)) for n, query in queries]
    masks = [torch.from_numpy(query.mask) for _, query in queries if query.mask is not None]
    return GroundingBatch(
        images=stack([image for image, _, _ in read]),
        phrases=[query.phrase for _, query in queries],
        image_of_query=torch.tensor([n for n, _ in queries], dtype=torch.long),
        chain_of_query=torch.tensor(chain_of_query, dtype=torch.long),
        boxes=[torch.from_numpy(np.asarray(query.boxes, dtype=np.float32)) for _, query in queries],
        sizes=as_sizes([size for _, _, size in read]),
        keys=[query.key for _, query in queries],
        masks=masks if len(masks) == len(queries) else None,
        skipped=skipped,
    )


class SpanView(EvaluationView[SpanSource]):
    """A caption and its marked phrases."""

    batch_type = SpanBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        words, spans = self.source.words(index), self.source.spans(index)
        outside = next((span for span in spans if not 0 <= span[0] < span[1] <= len(words)), None)
        if outside:
            raise DataError(f"the span {outside} lies outside the caption's {len(words)} words")
        return (words, spans, self.source.key(index)), []


def collate_spans(samples: list[tuple[tuple | None, list[str]]]) -> SpanBatch:
    """Samples of a `SpanView` -> a batch."""
    read, skipped = gather(samples)
    words, spans, keys = columns(read, 3)
    return SpanBatch(words, spans, keys, skipped)


class SegmentationView(EvaluationView[SegmentationSource]):
    """An image and the class of each of its pixels."""

    batch_type = SegmentationBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        image, labels = self.source.image(index), self.source.labels(index)
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"the labels are {labels.shape[1]}x{labels.shape[0]}, the image is {image.shape[1]}x{image.shape[0]}"
            )
        return (self.resize(image), torch.from_numpy(labels), size_of(image), self.source.key(index)), []


def collate_segmentation(samples: list[tuple[tuple | None, list[str]]]) -> SegmentationBatch:
    """Samples of a `SegmentationView` -> a batch."""
    read, skipped = gather(samples)
    images, labels, sizes, keys = columns(read, 4)
    return SegmentationBatch(stack(images), labels, as_sizes(sizes), keys, skipped)


class TagView(EvaluationView[TagSource]):
    """An image, its caption's words, which of them are tags, and where."""

    batch_type = TagBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        words, tags, masks = self.source.words(index), self.source.tags(index), self.source.masks(index)
        if len(words) != len(tags) or (masks is not None and len(masks) != sum(tags)):
            raise DataError(
                f"{len(words)} words, {len(tags)} marks and {0 if masks is None else len(masks)} masks for {sum(tags)} tags"
            )
        image = self.resize(self.source.image(index))
        return (
            image,
            words,
            tags,
            None if masks is None else torch.from_numpy(masks),
            self.source.key(index),
        ), []


def collate_tags(samples: list[tuple[tuple | None, list[str]]]) -> TagBatch:
    """Samples of a `TagView` -> a batch."""
    read, skipped = gather(samples)
    images, words, tags, masks, keys = columns(read, 5)
    return TagBatch(
        stack(images), words, tags, None if any(mask is None for mask in masks) else masks, keys, skipped
    )


class LabelView(EvaluationView[LabelSource]):
    """An image and which classes it shows."""

    batch_type = LabelBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        return (
            self.resize(self.source.image(index)),
            torch.from_numpy(self.source.labels(index)),
            self.source.key(index),
        ), []


def collate_labels(samples: list[tuple[tuple | None, list[str]]]) -> LabelBatch:
    """Samples of a `LabelView` -> a batch."""
    read, skipped = gather(samples)
    images, labels, keys = columns(read, 3)
    return LabelBatch(
        stack(images), torch.stack(labels) if labels else torch.zeros(0, 0, dtype=torch.bool), keys, skipped
    )


class PairRankView(EvaluationView[PairRankSource]):
    """A pair, and its one or two images by name."""

    batch_type = PairRankBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        pair = self.source.pair(index)
        names = dict.fromkeys((pair.positive[0], pair.negative[0]))
        return (
            pair,
            {name: self.resize(self.source.image_named(name)) for name in names},
            self.source.key(index),
        ), []


def collate_pairs(samples: list[tuple[tuple | None, list[str]]]) -> PairRankBatch:
    """Samples of a `PairRankView` -> a batch, in which every image and every text stands once."""
    read, skipped = gather(samples)
    pairs, seen, keys = columns(read, 3)
    images = {name: image for of_pair in seen for name, image in of_pair.items()}
    image_index = {name: index for index, name in enumerate(images)}
    texts = {
        text: index
        for index, text in enumerate(dict.fromkeys(text for pair in pairs for _, text in pair[:2]))
    }

    def indices(sides: list[tuple[str, str]]) -> Tensor:
        return torch.tensor(
            [(image_index[image], texts[text]) for image, text in sides], dtype=torch.long
        ).reshape(-1, 2)

    positive, negative = (
        indices([pair.positive for pair in pairs]),
        indices([pair.negative for pair in pairs]),
    )
    return PairRankBatch(
        stack(list(images.values())),
        list(texts),
        positive,
        negative,
        [pair.group for pair in pairs],
        keys,
        skipped,
    )


class RetrievalView(EvaluationView[RetrievalSource]):
    """An image and its captions."""

    batch_type = RetrievalBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        return (
            self.resize(self.source.image(index)),
            self.source.captions(index),
            self.source.key(index),
        ), []


def collate_retrieval(samples: list[tuple[tuple | None, list[str]]]) -> RetrievalBatch:
    """Samples of a `RetrievalView` -> a batch."""
    read, skipped = gather(samples)
    images, captions, keys = columns(read, 3)
    return RetrievalBatch(stack(images), captions, keys, skipped)


class QuestionView(EvaluationView[QuestionSource]):
    """An image and its questions."""

    batch_type = QuestionBatch

    def read(self, index: int) -> tuple[tuple, list[str]]:
        return (self.resize(self.source.image(index)), self.source.questions(index)), []


def collate_questions(samples: list[tuple[tuple | None, list[str]]]) -> QuestionBatch:
    """Samples of a `QuestionView` -> a batch."""
    read, skipped = gather(samples)
    questions = [(n, question) for n, (_, of_image) in enumerate(read) for question in of_image]
    return QuestionBatch(
        images=stack([image for image, _ in read]),
        questions=[question.text for _, question in questions],
        image_of_question=torch.tensor([n for n, _ in questions], dtype=torch.long),
        answers=[question.answers for _, question in questions],
        keys=[question.key for _, question in questions],
        skipped=skipped,
    )


VIEWS: dict[type, tuple[type[EvaluationView[Any]], Callable[[list], Any]]] = {
    GroundingSource: (GroundingView, collate_queries),
    SpanSource: (SpanView, collate_spans),
    SegmentationSource: (SegmentationView, collate_segmentation),
    TagSource: (TagView, collate_tags),
    LabelSource: (LabelView, collate_labels),
    PairRankSource: (PairRankView, collate_pairs),
    RetrievalSource: (RetrievalView, collate_retrieval),
    QuestionSource: (QuestionView, collate_questions),
}


def view_of(
    source: EvaluationSource, preprocessing: Preprocessing
) -> tuple[EvaluationView[Any], Callable[[list], Any]]:
    """The view of a source and its collation, by the source's kind."""
    view, collate = next(found for kind, found in VIEWS.items() if isinstance(source, kind))
    return view(source, preprocessing), collate
