"""What a batch is: the contract between datamodules, modules and evaluations.

Shapes: N images, B training rows, Q queries (phrases), K boxes of one query. Boxes are ``xyxy`` in pixels of
    the *original* image, 0-based, the
maximum exclusive. Batches are plain dataclasses, which Lightning moves to the device by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

IGNORED = 255  # label of pixels that are not judged

Interpolation = Literal["bicubic", "bilinear", "cv2_bilinear"]


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images: squashed to a square, then normalised. It belongs to the model;
    datamodules only apply it.

    Args:
        image_size: side of the square input, in pixels.
        mean, std: per channel, for pixels in [0, 1].
        interpolation: ``bicubic`` and ``bilinear`` are PIL's (anti-aliased); ``cv2_bilinear`` is OpenCV's,
            which is not anti-aliased.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of one caption.

    Args:
        text: the words as they stand in the caption, joined by blanks, without punctuation at either end.
        subject: the head noun (one word, or a compound such as "teddy bear"), lower case.
        start, end: span over the caption's whitespace tokens, the end exclusive.
        caption: which of the image's captions it comes from.
    """

    text: str
    subject: str
    start: int
    end: int
    caption: int = 0


@dataclass
class ImageTextBatch:
    """Images and one caption each. ``images`` (B,3,H,W) float32, normalised for the model."""

    images: Tensor
    captions: list[str]
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class PhraseBatch:
    """Rows of HIST's algorithm 1: a phrase C_i of the image, its subject S_i, and a partner C_j of another
    subject, or ``None``.

    ``images`` (B,3,H,W) float32, normalised for the model; the lists have length B. ``mentioned`` holds for
    each image all phrases and subjects of all its captions, if they are known: with them a loss can leave out
    false negatives.
    """

    images: Tensor
    phrases: list[str]
    subjects: list[str]
    partners: list[str | None]
    keys: list[str]
    mentioned: list[frozenset[str]] | None = None
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass
class GroundingBatch:
    """Queries to be found in images; each image stands once, whatever the number of its queries.

    Attributes:
        images: (N,3,H,W) float32, normalised for the model.
        phrases: Q texts.
        image_of_query: (Q,) long, into the N images.
        chain_of_query: (Q,) long; queries of one image with the same number are mentions of the same thing (a
            coreference chain). Numbers are unique within the batch.
        boxes: Q float tensors (K,4).
        sizes: (N,2) long, height and width of the original images.
        keys: Q strings, unique within the data set.
        masks: Q bool tensors (H,W) at original size, or None where the data set has none.
        skipped: one line for each record that could not be read.
    """

    images: Tensor
    phrases: list[str]
    image_of_query: Tensor
    chain_of_query: Tensor
    boxes: list[Tensor]
    sizes: Tensor
    keys: list[str]
    masks: list[Tensor] | None = None
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass
class SpanBatch:
    """Captions as words, with the phrases that a human marked in them. ``spans``: for each caption (start,
    end) over its words, the end exclusive.
    """

    words: list[list[str]]
    spans: list[list[tuple[int, int]]]
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)


@dataclass
class SegmentationBatch:
    """Images with a class for every pixel. ``labels``: N uint8 tensors (H,W) at original size, `IGNORED`
    where nothing is asked; ``sizes`` (N,2) long.
    """

    images: Tensor
    labels: list[Tensor]
    sizes: Tensor
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class TagBatch:
    """Images, their captions as words, and for each word whether it is a tag, something to be seen.

    ``masks``: for each image (T,H,W) bool, the region of each of its T tagged words, or None where the set
        has no masks.
    """

    images: Tensor
    words: list[list[str]]
    tags: list[list[bool]]
    masks: list[Tensor] | None
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)


@dataclass
class LabelBatch:
    """Images and which of C named classes each shows: ``labels`` (N,C) bool."""

    images: Tensor
    labels: Tensor
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class PairRankBatch:
    """Pairs of which one must score higher: a text with two images, or an image with two texts.

    ``positive`` and ``negative`` (P,2) long: (image, text) as indices into ``images`` and ``texts``, each of
    which stands once. ``groups``: P names, for figures of their own (SVO-Probes: subject, verb, object).
    """

    images: Tensor
    texts: list[str]
    positive: Tensor
    negative: Tensor
    groups: list[str]
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.groups)


@dataclass
class RetrievalBatch:
    """Images, each with all of its captions."""

    images: Tensor
    captions: list[list[str]]
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class QuestionBatch:
    """Questions about images, each image once: Q texts, ``image_of_question`` (Q,) long, and for each
    question its answers with their weights.
    """

    images: Tensor
    questions: list[str]
    image_of_question: Tensor
    answers: list[dict[str, float]]
    keys: list[str]
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.questions)


EvaluationBatch = (
    GroundingBatch
    | SpanBatch
    | SegmentationBatch
    | TagBatch
    | LabelBatch
    | PairRankBatch
    | RetrievalBatch
    | QuestionBatch
)


def normalise(images_uint8: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B,3,H,W) uint8 in [0,255] -> float32 normalised, on the tensor's own device."""
    mean = torch.tensor(preprocessing.mean, device=images_uint8.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=images_uint8.device).view(1, 3, 1, 1)
    return (images_uint8.float() / 255 - mean) / std
