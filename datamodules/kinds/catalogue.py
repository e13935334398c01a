"""All kinds of samples. A new one is a file here and a line below."""

from __future__ import annotations

from datamodules.batches import Batch
from datamodules.kinds import (
    boxed_phrases,
    caption_phrases,
    captions,
    grounding,
    labels,
    pairs,
    phrases,
    questions,
    retrieval,
    segmentation,
    spans,
    tags,
    vectors,
)
from datamodules.kinds.base import Kind, Source

TRAINING_KINDS = (
    caption_phrases.KIND,
    captions.KIND,
    phrases.KIND,
    boxed_phrases.KIND,
    questions.TRAINING_KIND,
    vectors.KIND,
)
JUDGED_KINDS = (
    grounding.KIND,
    labels.KIND,
    pairs.KIND,
    questions.KIND,
    retrieval.KIND,
    segmentation.KIND,
    spans.KIND,
    tags.KIND,
)


def training_kind(source: Source, batch: type[Batch]) -> Kind | None:
    """The kind by which batches of type ``batch`` are made of a source; None if there is none."""
    for kind in TRAINING_KINDS:
        if kind.batch is batch and isinstance(source, kind.source):
            return kind
    return None


def made_of_phrases(batch: type[Batch]) -> bool:
    """Whether training batches of that type are made of the phrases of captions."""
    return any(kind.view.needs_phrases for kind in TRAINING_KINDS if kind.batch is batch)


def kind_of(source: Source) -> Kind:
    """The kind of a source to be judged on.

    Raises:
        TypeError: it is of none.
    """
    for kind in JUDGED_KINDS:
        if isinstance(source, kind.source):
            return kind
    raise TypeError(f"{type(source).__name__} is of no kind that is listed in datamodules/kinds/catalogue.py")
