"""Images with questions about them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.batches import QuestionBatch
from datamodules.kinds.base import EvaluationView, ImageSource, JudgedSample, Kind, gather, stack
from datamodules.kinds.training import TrainingSource, TrainingView


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


class QuestionTrainingSource(ImageSource, TrainingSource):
    """Images with questions to learn from."""

    @abstractmethod
    def questions(self, index: int) -> list[Question]:
        """The questions of an image; at least one."""


class QuestionTrainingView(TrainingView[QuestionTrainingSource]):
    """All questions of an image, so that it is encoded once for them."""

    def texts(self, index: int, rng: np.random.Generator) -> tuple[list[Question]]:
        """The questions."""
        return (self.source.questions(index),)


def collate_questions(samples: list[JudgedSample]) -> QuestionBatch:
    """Samples of a `QuestionView` -> a batch."""
    read, skipped = gather(samples)
    return _batch([image for image, _ in read], [questions for _, questions in read], skipped)


def collate_training_questions(samples: list[tuple]) -> QuestionBatch:
    """Samples of a `QuestionTrainingView` -> a batch."""
    images, questions, _, skipped = zip(*samples, strict=True)
    return _batch(images, questions, list(chain.from_iterable(skipped)))


def _batch(
    images: Sequence[Tensor], questions_of_images: Sequence[list[Question]], skipped: list[str]
) -> QuestionBatch:
    stacked, extents = stack(images)
    questions = [(n, question) for n, of_image in enumerate(questions_of_images) for question in of_image]
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
TRAINING_KIND = Kind(QuestionBatch, QuestionTrainingSource, QuestionTrainingView, collate_training_questions)
