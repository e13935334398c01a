"""VQA v2 (Goyal et al. 2017, arXiv:1612.00837): questions about COCO images, ten human answers each; 82,783
images and 443,757 questions to learn from, 40,504 images and 214,354 questions to be judged on.

Layout below ``root``, as its publishers ship it: ``v2_OpenEnded_mscoco_<subset>_questions.json`` and
``v2_mscoco_<subset>_annotations.json`` of train2014 and val2014. ``images`` is COCO's ``val2014/``,
``train_images`` its ``train2014/``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.questions import Question, QuestionSource, QuestionTrainingSource
from datamodules.sets import coco_files
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

ROWS = pa.schema(
    {
        "image": pa.int64(),
        "keys": pa.list_(pa.int64()),
        "questions": pa.list_(pa.string()),
        "answers": pa.list_(pa.string()),  # as json
    }
)
FILES_URL = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"


def _parts(subset: str) -> tuple[Part, Part]:
    """The questions and the answers of a subset."""
    name = subset.removesuffix("2014").capitalize()
    return (
        Part(
            f"v2_OpenEnded_mscoco_{subset}_questions.json",
            "questions",
            1,
            url=f"{FILES_URL}/v2_Questions_{name}_mscoco.zip",
            unpack=".",
        ),
        Part(
            f"v2_mscoco_{subset}_annotations.json",
            "answers",
            1,
            url=f"{FILES_URL}/v2_Annotations_{name}_mscoco.zip",
            unpack=".",
        ),
    )


LAYOUT = Layout(
    name="VQA",
    title="VQA v2",
    page="https://visualqa.org/download.html",
    licence=f"the publisher's terms of use, on its page; {coco_files.LICENCE}",
    size="21 GB with COCO's photographs",
    root="data/vqa",
    options={"images": "data/coco/val2014", "train_images": "data/coco/train2014"},
    parts=(
        *(part for subset in ("val2014", "train2014") for part in _parts(subset)),
        coco_files.photographs("val2014", folder_option="images"),
        coco_files.photographs("train2014", folder_option="train_images"),
    ),
    trains_on="questions with answers",
    judged_on="questions with answers",
    counts=(
        SplitCounts("train", 82_783, 443_757),
        SplitCounts("val", 40_504, 214_354),
        SplitCounts("test", 40_504, 214_354, note="the same: answers of its test images are not public"),
    ),
    dead_links="The publisher moved its files once; older addresses are dead.",
)


def answer_weights(answers: list[str]) -> dict[str, float]:
    """Answers of several people -> each distinct answer's share.

    With ten people that is how often it was given / 10, as ALBEF weights them (reference code). The official
    accuracy, min(times given / 3, 1) averaged over sets of nine people, follows from these shares.

    Example:
        >>> answer_weights(["yes", "yes", "no", "yes"])
        {'yes': 0.75, 'no': 0.25}
    """
    counts = Counter(" ".join(answer.split()) for answer in answers)
    return {answer: count / len(answers) for answer, count in counts.items() if answer}


def question_rows(questions: Path, annotations: Path) -> Rows:
    """Rows of `ROWS`, an image each, in the order of the questions; and a line for each question without
    answers. Raises `DataError`.
    """
    answers: dict[int, str] = {}
    yield from _read_answers(annotations, answers)
    questions_by_image: dict[int, list[tuple[int, str]]] = {}
    for number, question in enumerate(stream_json(questions, "questions.item")):
        try:
            key = int(question["question_id"])
            image = int(question["image_id"])
            text = " ".join(question["question"].split())
            if not text:
                raise ValueError("no text")
            if key not in answers:
                raise ValueError("no answers")
            questions_by_image.setdefault(image, []).append((key, text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = question.get("question_id", number) if isinstance(question, dict) else number
            yield f"question {name}\tnot a question of VQA ({type(error).__name__}: {error})"
    for image, asked in questions_by_image.items():
        yield {
            "image": image,
            "keys": [key for key, _ in asked],
            "questions": [text for _, text in asked],
            "answers": [answers[key] for key, _ in asked],
        }


def _read_answers(annotations: Path, answers: dict[int, str]) -> Iterator[str]:
    """Fills in `answer_weights` as json by question; a line for each annotation that cannot be used."""
    for number, annotation in enumerate(stream_json(annotations, "annotations.item")):
        try:
            weights = answer_weights([answer["answer"] for answer in annotation["answers"]])
            if not weights:
                raise ValueError("no answer")
            answers[annotation["question_id"]] = json.dumps(weights)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"annotation {number}\tnot an annotation of VQA ({type(error).__name__}: {error})"


class VQASource(QuestionSource, QuestionTrainingSource):
    """The questions of one subset, by image.

    Args:
        root: folder of the data set, laid out as above.
        images: folder of ``COCO_<subset>_<number>.jpg``.
        subset: ``val2014`` or ``train2014``; the answers of test2015 are not public.
        cache_dir: where the index goes if ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: a file or the folder of images is missing.
        DataError: a file is damaged, or no question has answers.
    """

    def __init__(
        self, root: Path, images: Path, subset: str = "val2014", cache_dir: Path = Path(".cache")
    ) -> None:
        questions = root / f"v2_OpenEnded_mscoco_{subset}_questions.json"
        annotations = root / f"v2_mscoco_{subset}_annotations.json"
        option = "train_images" if subset == "train2014" else "images"
        LocalCopy(LAYOUT, root, {option: images}).require(questions, annotations, images)
        self.images = images
        self.subset = subset
        self.index = open_index(
            root,
            f"vqa_{subset}",
            [questions, annotations],
            ROWS,
            lambda: question_rows(questions, annotations),
            cache_dir=cache_dir,
        )
        self.broken = self.index.broken
        if not len(self.index):
            raise DataError(f"{questions} holds no question that has answers in {annotations.name}.")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def number_of_queries(self) -> int:
        """Questions in all."""
        return self.index.count("keys")

    def key(self, index: int) -> str:
        """The photograph's name without extension."""
        return f"COCO_{self.subset}_{self.index.value(index, 'image'):012d}"

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / f"{self.key(index)}.jpg")

    def questions(self, index: int) -> list[Question]:
        """All questions about an image, with the share of each answer."""
        row = self.index.row(index)
        return [
            Question(text, json.loads(answers), str(key))
            for key, text, answers in zip(row["keys"].tolist(), row["questions"], row["answers"], strict=True)
        ]


class VQA(GroundingDataModule):
    """VQA v2. Both ``validate`` and ``test`` judge on val2014: the answers of its test images are not public.

    Args:
        root: folder of the data set, laid out as above.
        images: folder of COCO's val2014 photographs.
        train_images: folder of COCO's train2014 photographs.
        kwargs: as for `GroundingDataModule`.
    """

    name = "vqa"
    layout = LAYOUT

    def __init__(
        self,
        root: Path = Path("data/vqa"),
        images: Path = Path("data/coco/val2014"),
        train_images: Path = Path("data/coco/train2014"),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.images = Path(images)
        self.train_images = Path(train_images)

    def training_source(self) -> VQASource:
        """The questions of train2014."""
        return VQASource(self.root, self.train_images, "train2014", self.cache_dir)

    def evaluation_source(self, split: Split) -> VQASource:
        """The questions of val2014, for every split."""
        return VQASource(self.root, self.images, cache_dir=self.cache_dir)
