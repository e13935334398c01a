"""VQA v2 (Goyal et al. 2017, arXiv:1612.00837): questions about COCO images, ten human answers each; 40,504
images and 214,354 questions to be judged on.

Layout below ``root``, as its publishers ship it: ``v2_OpenEnded_mscoco_val2014_questions.json`` and
``v2_mscoco_val2014_annotations.json``. ``images`` is COCO's ``val2014/``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, require_paths
from datamodules.kinds.questions import Question, QuestionSource
from datamodules.storage.images import read_image
from datamodules.storage.index import Rows, open_index, stream_json

REMEDY = "Set --data.root and --data.images; questions and annotations are had from visualqa.org/download.html, the images (val2014) from cocodataset.org."
ROWS = pa.schema(
    {
        "image": pa.int64(),
        "keys": pa.list_(pa.int64()),
        "questions": pa.list_(pa.string()),
        "answers": pa.list_(pa.string()),
    }  # answers as json
)


def answer_weights(answers: list[str]) -> dict[str, float]:
    """Answers of several people -> each distinct answer's share: with ten people, how often it was given /
    10, as ALBEF weights them (reference code). The official accuracy, min(times given / 3, 1) averaged over
    sets of nine people, follows from these shares."""
    given = Counter(" ".join(answer.split()) for answer in answers)
    return {answer: count / len(answers) for answer, count in given.items() if answer}


def question_rows(questions: Path, annotations: Path) -> Rows:
    """Rows of ``ROWS``, an image each, in the order of the questions; and a line for each question without
    answers. Raises `DataError`.
    """
    answers: dict[int, str] = {}
    for n, annotation in enumerate(stream_json(annotations, "annotations.item")):
        try:
            weights = answer_weights([answer["answer"] for answer in annotation["answers"]])
            if not weights:
                raise ValueError("no answer")
            answers[annotation["question_id"]] = json.dumps(weights)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"annotation {n}\tnot an annotation of VQA ({type(error).__name__}: {error})"
    of_image: dict[int, list[tuple[int, str]]] = {}
    for n, question in enumerate(stream_json(questions, "questions.item")):
        try:
            key, image, text = (
                int(question["question_id"]),
                int(question["image_id"]),
                " ".join(question["question"].split()),
            )
            if not text or key not in answers:
                raise ValueError("no text" if not text else "no answers")
            of_image.setdefault(image, []).append((key, text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = question.get("question_id", n) if isinstance(question, dict) else n
            yield f"question {name}\tnot a question of VQA ({type(error).__name__}: {error})"
    for image, asked in of_image.items():
        keys, texts = [key for key, _ in asked], [text for _, text in asked]
        yield {"image": image, "keys": keys, "questions": texts, "answers": [answers[key] for key in keys]}


class VQASource(QuestionSource):
    """The questions of one subset, by image.

    Args:
        root: folder of the layout above.
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
        names = (f"v2_OpenEnded_mscoco_{subset}_questions.json", f"v2_mscoco_{subset}_annotations.json")
        require_paths("VQA v2", root, names, " and ".join(names), REMEDY)
        require_paths("VQA v2", images, [], f"COCO_{subset}_*.jpg", REMEDY)
        self.images, self.subset = images, subset
        questions, annotations = (root / name for name in names)
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
        return self.index.count("keys")

    def key(self, index: int) -> str:
        return f"COCO_{self.subset}_{self.index.value(index, 'image'):012d}"

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / f"{self.key(index)}.jpg")

    def questions(self, index: int) -> list[Question]:
        row = self.index.row(index)
        return [
            Question(text, json.loads(answers), str(key))
            for key, text, answers in zip(row["keys"].tolist(), row["questions"], row["answers"], strict=True)
        ]


class VQA(GroundingDataModule):
    """VQA v2. Both ``validate`` and ``test`` judge on val2014: the answers of its test images are not public.

    Args:
        root: folder of the layout above.
        images: folder of COCO's val2014 photographs.
        kwargs: as for `GroundingDataModule`.
    """

    name = "vqa"

    def __init__(
        self, root: Path = Path("data/vqa"), images: Path = Path("data/coco/val2014"), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.root, self.images = Path(root), Path(images)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> VQASource:
        return VQASource(self.root, self.images, cache_dir=self.cache_dir)
