"""What a batch is: the contract between datamodules, modules and evaluations.

Shapes: N images, B training rows, Q queries (phrases), K boxes of one query. Boxes are ``xyxy`` in pixels of
the *original* image, 0-based, the maximum exclusive. Batches are plain dataclasses, which Lightning moves to
the device by itself. Collation leaves their images as uint8; `prepare_images` turns them into what a model
takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.nn import functional as F

IGNORED = 255  # label of pixels that are not judged

Interpolation = Literal["bicubic", "bilinear", "cv2_bilinear"]
Resize = Literal["square", "short_side", "keep"]


@dataclass(frozen=True)
class RandomWindow:
    """How a training image is resized and cropped, where that differs from evaluation.

    Args:
        sizes: least and greatest size. Each image draws its own, uniformly, in place of
            `Preprocessing.image_size`.
        crop: side of the square window that is cut out at random, in pixels. Smaller images are padded to it.
    """

    sizes: tuple[int, int]
    crop: int


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images: resized, normalised, and padded where images of a batch differ in size.

    It belongs to the model; datamodules only apply it. Which changes leave a caption true depends on the
    data, so flips and the like are an option of the data (`datamodules.kinds.training.Augmentation`).

    How much an image is padded depends on the others of its batch, and a model may look at padding. Images
    that keep their aspect ratio are therefore judged one at a time (``eval_batch_size: 1``) where results
    must be the same for any batch size and any number of processes.

    Args:
        image_size: side of the square, or length of the shorter side, in pixels.
        mean, std: per channel, for pixels in [0, 1].
        interpolation: ``bicubic`` and ``bilinear`` are PIL's (anti-aliased); ``cv2_bilinear`` is OpenCV's,
            which is not anti-aliased.
        resize: ``square`` squashes an image to a square, whatever its aspect ratio; ``short_side`` keeps the
            aspect ratio and makes the shorter side ``image_size`` long; ``keep`` leaves an image as it is.
        longest_side: with ``short_side``, no side becomes longer than this, so that very long and thin images
            stay small.
        multiple: height and width of a batch are padded to a multiple of this many pixels.
        training: how training images are resized and cropped instead; None for the same as in evaluation.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    resize: Resize = "square"
    longest_side: int = 2048
    multiple: int = 1
    training: RandomWindow | None = None


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
class Batch:
    """What all batches share.

    Attributes:
        skipped: one line (name, tab, reason) for each record that could not be read.
    """

    skipped: list[str] = field(default_factory=list, kw_only=True)

    @property
    def not_judged(self) -> int:
        """How many of its samples hold no answer by which a model can be judged."""
        return 0

    def pin_memory(self) -> Self:
        """A copy in page-locked memory, which a GPU reads faster; called by PyTorch's ``DataLoader``."""
        return apply_to_collection(self, Tensor, lambda tensor: tensor.pin_memory())


@dataclass
class ImageBatch(Batch):
    """What all batches of images share.

    Attributes:
        images: (N,3,H,W) float32, normalised for the model; or (N,F) float16, what a frozen encoder saw in
            them, where the data read stored features (`datamodules.storage.features`).
        extents: (N,2) long, height and width in pixels of the part of each image that is not padding; it
            begins at the upper left corner. None where nothing is padded.
    """

    images: Tensor
    extents: Tensor | None = field(default=None, kw_only=True)

    @property
    def padding(self) -> Tensor | None:
        """(N,H,W) bool, true where a pixel is padding; None where nothing is padded."""
        if self.extents is None:
            return None
        height, width = self.images.shape[-2:]
        rows = torch.arange(height, device=self.extents.device)
        columns = torch.arange(width, device=self.extents.device)
        below = rows[None, :, None] >= self.extents[:, 0, None, None]
        beside = columns[None, None, :] >= self.extents[:, 1, None, None]
        return below | beside


@dataclass
class ImageTextBatch(ImageBatch):
    """Images and one caption each.

    ``captions`` and ``keys`` have length B. Where vectors stand in for images (`datamodules.kinds.vectors`),
    ``images`` is (B,D) float32.
    """

    captions: list[str]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class PhraseBatch(ImageBatch):
    """Rows of HIST's algorithm 1: a phrase of the image, its subject, and a partner of another subject.

    Attributes:
        phrases: B phrases C_i.
        subjects: their subjects S_i.
        partners: B phrases C_j of the same images with another subject, or None where there is none.
        keys: B names of images.
        mentioned: for each image all phrases and subjects of all its captions, if they are known: with them a
            loss can leave out false negatives.
    """

    phrases: list[str]
    subjects: list[str]
    partners: list[str | None]
    keys: list[str]
    mentioned: list[frozenset[str]] | None = None

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass
class CaptionPhraseBatch(ImageBatch):
    """Images, a caption each, and the phrases of that caption.

    Attributes:
        captions: B captions.
        phrases: for each caption its noun phrases in their order, possibly none.
        keys: B names of images.
    """

    captions: list[str]
    phrases: list[list[str]]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class BoxedPhraseBatch(ImageBatch):
    """Images, a phrase of each, and where it is: what a supervised method learns from.

    Attributes:
        phrases: B phrases.
        regions: (B,H,W) bool, the pixels of ``images`` that lie in a box of the phrase; none where a random
            crop has cut its boxes away, or resizing has made them smaller than a pixel.
        keys: B names of images.
        mentioned: for each image all its phrases and their head nouns, see `PhraseBatch`.
    """

    phrases: list[str]
    regions: Tensor
    keys: list[str]
    mentioned: list[frozenset[str]]

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass
class GroundingBatch(ImageBatch):
    """Queries to be found in images; each image stands once, whatever the number of its queries.

    Attributes:
        phrases: Q texts.
        image_of_query: (Q,) long, into the N images.
        chain_of_query: (Q,) long; queries of one image with the same number are mentions of the same thing (a
            coreference chain). Numbers are unique within the batch.
        boxes: Q float tensors (K,4).
        sizes: (N,2) long, height and width of the original images.
        image_keys: N names of images.
        keys: Q strings, unique within the data set.
        masks: Q bool tensors (H,W) at original size, or None where the data set has none.
    """

    phrases: list[str]
    image_of_query: Tensor
    chain_of_query: Tensor
    boxes: list[Tensor]
    sizes: Tensor
    image_keys: list[str]
    keys: list[str]
    masks: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.phrases)

    @property
    def not_judged(self) -> int:
        """Queries without a box."""
        return sum(not len(boxes) for boxes in self.boxes)


@dataclass
class SpanBatch(Batch):
    """Captions as words, with the phrases that a human marked in them.

    ``spans`` holds for each caption (start, end) over its words, the end exclusive.
    """

    words: list[list[str]]
    spans: list[list[tuple[int, int]]]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.words)


@dataclass
class SegmentationBatch(ImageBatch):
    """Images with a class for every pixel.

    ``labels``: N uint8 tensors (H,W) at original size, `IGNORED` where nothing is asked; ``sizes`` (N,2)
    long, height and width of the original images.
    """

    labels: list[Tensor]
    sizes: Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class TagBatch(ImageBatch):
    """Images, their captions as words, and for each word whether it is a tag, something to be seen.

    ``masks``: for each image (T,H,W) bool, the region of each of its T tagged words, or None where the set
    has no masks. ``judged``: for each word whether it is known if it is a tag; None where all are.
    """

    words: list[list[str]]
    tags: list[list[bool]]
    masks: list[Tensor] | None
    keys: list[str]
    judged: list[list[bool]] | None = None

    def __len__(self) -> int:
        return len(self.words)


@dataclass
class LabelBatch(ImageBatch):
    """Images and which of C named classes each shows: ``labels`` (N,C) bool."""

    labels: Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class PairRankBatch(ImageBatch):
    """Pairs of which one must score higher: a text with two images, or an image with two texts.

    ``positive`` and ``negative`` (P,2) long: (image, text) as indices into ``images`` and ``texts``, each of
    which stands once. ``groups``: P names, for figures of their own (SVO-Probes: subject, verb, object).
    """

    texts: list[str]
    positive: Tensor
    negative: Tensor
    groups: list[str]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.groups)


@dataclass
class RetrievalBatch(ImageBatch):
    """Images, each with all of its captions."""

    captions: list[list[str]]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class QuestionBatch(ImageBatch):
    """Questions about images, each image once.

    Q texts, ``image_of_question`` (Q,) long, and for each question its answers with their weights.
    """

    questions: list[str]
    image_of_question: Tensor
    answers: list[dict[str, float]]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.questions)


def normalise(images_uint8: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B,3,H,W) uint8 in [0,255] -> float32 normalised, on the tensor's own device."""
    mean = torch.tensor(preprocessing.mean, device=images_uint8.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=images_uint8.device).view(1, 3, 1, 1)
    return (images_uint8.float() / 255 - mean) / std


def denormalise(image: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """An image as the model takes it, as it can be looked at: (3,H,W) float -> (H,W,3) uint8 RGB."""
    mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(preprocessing.std).view(3, 1, 1)
    return ((image.cpu() * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def prepare_images(batch: ImageBatch, preprocessing: Preprocessing, least_side: int = 1) -> None:
    """Normalises the images of a batch in place, and pads them as the model wants.

    Padding is 0 after normalisation, which is the mean colour. Vectors in place of images stay as they are.

    Args:
        batch: as collated, on any device.
        preprocessing: of the model.
        least_side: height and width that images are padded to at least.
    """
    if batch.images.dtype != torch.uint8:
        return
    images = normalise(batch.images, preprocessing)
    if batch.padding is not None:
        images = images.masked_fill(batch.padding[:, None], 0.0)
    height, width = images.shape[-2:]
    below = _padded(height, least_side, preprocessing.multiple) - height
    beside = _padded(width, least_side, preprocessing.multiple) - width
    if below or beside:
        if batch.extents is None:
            batch.extents = torch.tensor([height, width], device=images.device).repeat(len(images), 1)
        images = F.pad(images, (0, beside, 0, below))
    batch.images = images


def _padded(side: int, least_side: int, multiple: int) -> int:
    return -(-max(side, least_side) // multiple) * multiple
