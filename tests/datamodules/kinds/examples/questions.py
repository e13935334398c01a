"""Questions about images."""

from __future__ import annotations

from typing import Any

from datamodules.kinds.questions import Question, QuestionSource
from tests.datamodules.kinds.examples.pictures import Pictures, shade


class Example(Pictures, QuestionSource):
    def questions(self, index: int) -> list[Question]:
        return [Question("what?", {"dog": 1.0}, f"{index}/a"), Question("who?", {"cat": 0.3}, f"{index}/b")]


def record(source: QuestionSource, index: int) -> Any:
    return shade(source.image(index)), [tuple(question) for question in source.questions(index)]
