"""Judges answers to questions about images: VQA."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import QuestionBatch
from datamodules.handover import JudgedSet
from datamodules.storage.whole_files import write_whole
from lightning_modules.capabilities import CanAnswer
from metrics.vqa_accuracy import VQAAccuracy, accuracies_of
from metrics.whole_set import of_all_processes

RULES = {"accuracy": "min(other people who say so / 3, 1), mean over the ten sets of nine people (VQA)"}


class QuestionEvaluation(Evaluation):
    """The accuracy of VQA, beside always giving the set's most frequent answer.

    ``test`` also writes all answers to ``test/answers-<set>.json``, in the form that the server of VQA takes.
    """

    capability: ClassVar[type] = CanAnswer
    batch_type: ClassVar[type] = QuestionBatch

    def __init__(self) -> None:
        self.frequent: dict[int, str] = {}
        self.answers: dict[int, list[tuple[str, str]]] = {}

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], VQAAccuracy]:
        """The module, and in ``test`` the most frequent answer."""
        methods = ("model", "most frequent answer") if stage == "test" else ("model",)
        return {("vqa", method): VQAAccuracy() for method in methods}

    def rules(self) -> dict[str, Any]:
        """How an answer is judged."""
        return {"vqa": RULES}

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Nothing is answered yet."""
        super().begin(trainer, pl_module, stage)
        self.answers = {id(scores): [] for scores in self.scores.values()}
        if stage == "test":
            sources = {judged.name: judged.source for judged in self.sets}
            self.frequent = {id(self.scores[name]): most_frequent(sources[name]) for name in self.scores}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: QuestionBatch, scores: Scores) -> None:
        """Answers the questions of a batch."""
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            answers = pl_module.answer(batch.images, batch.questions, batch.image_of_question)
        for (_, method), score in scores.items():
            if method == "model":
                score.update(accuracies_of(answers, batch.answers))
            else:
                same = [self.frequent[id(scores)]] * len(batch)
                score.update(accuracies_of(same, batch.answers))
        self.answers[id(scores)] += zip(batch.keys, answers, strict=True)

    def finish(self, trainer: pl.Trainer, pl_module: Any, scores: Scores) -> None:
        """Writes the answers, in ``test``."""
        answers = chain.from_iterable(of_all_processes(self.answers[id(scores)]))
        if ("vqa", "most frequent answer") not in scores or not trainer.is_global_zero:
            return
        (name,) = [name for name, of_set in self.scores.items() if of_set is scores]
        rows = [{"question_id": _number(key), "answer": answer} for key, answer in sorted(answers)]
        write_whole(Path(trainer.default_root_dir) / "test" / f"answers-{name}.json", json.dumps(rows))


def most_frequent(source: Any) -> str:
    """The answer that most people gave to the questions of a set; of several the first by the alphabet."""
    weights: Counter[str] = Counter()
    for index in range(len(source)):
        for question in source.questions(index):
            weights.update(question.answers)
    return max(sorted(weights), key=weights.__getitem__, default="")


def _number(key: str) -> int | str:
    """The server wants numbers where the set has them."""
    return int(key) if key.isdecimal() else key
