"""All kinds of samples to be judged on. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datamodules.batches import Preprocessing
from datamodules.kinds import grounding, labels, pairs, questions, retrieval, segmentation, spans, tags
from datamodules.kinds.base import EvaluationView, Kind, Source

KINDS = (
    grounding.KIND,
    labels.KIND,
    pairs.KIND,
    questions.KIND,
    retrieval.KIND,
    segmentation.KIND,
    spans.KIND,
    tags.KIND,
)


def kind_of(source: Source) -> Kind:
    """The kind of a source to be judged on.

    Raises:
        TypeError: it is of none.
    """
    for kind in KINDS:
        if isinstance(source, kind.source):
            return kind
    raise TypeError(f"{type(source).__name__} is of no kind that is listed in datamodules/kinds/catalogue.py")


def view_of(
    source: Source, preprocessing: Preprocessing
) -> tuple[EvaluationView[Any], Callable[[list], Any]]:
    """The view of a source and its collation, by the source's kind."""
    kind = kind_of(source)
    return kind.view(source, preprocessing), kind.collate
