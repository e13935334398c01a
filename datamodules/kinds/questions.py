"""Images with questions about them."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch

from datamodules.batches import QuestionBatch
from datamodules.kinds.base import EvaluationView, ImageSource, JudgedSample, Kind, gather, stack


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

    def sample_keys(self, index: int) -> list[str]:
        """Those of its questions."""
        return [question.key for question in self.questions(index)]

    @property
    def number_of_samples(self) -> int:
        """Questions in all."""
        if self.number_of_queries is not None:
            return self.number_of_queries
        return sum(len(self.questions(index)) for index in range(len(self)))


class QuestionView(EvaluationView[QuestionSource]):
    """An image and its questions."""

    def read(self, index: int) -> JudgedSample:
        """The image and its questions."""
        return (self.resize(self.source.image(index)), self.source.questions(index)), []


def collate_questions(samples: list[JudgedSample]) -> QuestionBatch:
    """Samples of a `QuestionView` -> a batch."""
    read, skipped = gather(samples)
    stacked, extents = stack([image for image, _ in read])
    questions = [(n, question) for n, (_, of_image) in enumerate(read) for question in of_image]
    return QuestionBatch(
        images=stacked,
        questions=[question.text for _, question in questions],
        image_of_question=torch.tensor([n for n, _ in questions], dtype=torch.long),
        answers=[question.answers for _, question in questions],
        keys=[question.key for _, question in questions],
        extents=extents,
        skipped=skipped,
    )


KIND = Kind(QuestionBatch, QuestionSource, QuestionView, collate_questions)
