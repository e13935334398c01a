"""VQA v2: questions and annotations in two files, which name each other by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.judged import Judged, save_photo

YES = ["yes"] * 7 + ["no"] * 2 + ["maybe"]


def answers(*texts: str) -> list[dict[str, Any]]:
    """What people answered, as the annotations hold it."""
    return [
        {"answer": answer, "answer_confidence": "yes", "answer_id": n}
        for n, answer in enumerate(texts, start=1)
    ]


def write_training(root: Path) -> Path:
    """One image with one question to learn from; returns the folder of the image."""
    images = root / "train2014"
    save_photo(images / "COCO_train2014_000000000007.jpg", 7)
    asked = {"image_id": 7, "question": "What colour?", "question_id": 7000}
    annotation = {"question_id": 7000, "image_id": 7, "answers": answers(*YES)}
    for name, content in (
        ("v2_OpenEnded_mscoco_train2014_questions.json", {"questions": [asked]}),
        ("v2_mscoco_train2014_annotations.json", {"annotations": [annotation]}),
    ):
        (root / name).write_text(json.dumps(content))
    return images


def write(root: Path) -> Judged:
    """An image with two questions that do not follow one another, one with one; one whose file is missing; a
    question without annotation, one without text, an annotation without answers."""
    images = root / "val2014"
    seen = {n: save_photo(images / f"COCO_val2014_{n:012d}.jpg", n) for n in (42, 73)}

    questions: list[Any] = [
        {"image_id": 42, "question": "Is it  red?", "question_id": 42000},
        {"image_id": 73, "question": "What is it?", "question_id": 73000},
        {"image_id": 42, "question": "How many?", "question_id": 42001},
        {"image_id": 99, "question": "Where?", "question_id": 99000},
        {"image_id": 42, "question": "Nobody answered?", "question_id": 42002},
        {"image_id": 42, "question": "", "question_id": 42003},
    ]
    annotated = {
        42000: YES,
        73000: ["traffic light"] * 10,
        42001: ["2"] * 5 + ["3"] * 5,
        99000: ["here"] * 10,
        42003: ["x"] * 10,
    }
    annotations: list[Any] = [
        {"question_id": key, "image_id": key // 1000, "answers": answers(*texts)}
        for key, texts in annotated.items()
    ]
    annotations.append({"question_id": 42004, "image_id": 42, "answers": []})
    paths = [root / "v2_OpenEnded_mscoco_val2014_questions.json", root / "v2_mscoco_val2014_annotations.json"]
    paths[0].write_text(json.dumps({"info": {}, "questions": questions, "data_subtype": "val2014"}))
    paths[1].write_text(json.dumps({"info": {}, "annotations": annotations}))
    records = {
        "COCO_val2014_000000000042": (
            seen[42],
            [
                ("Is it red?", {"yes": 0.7, "no": 0.2, "maybe": 0.1}, "42000"),
                ("How many?", {"2": 0.5, "3": 0.5}, "42001"),
            ],
        ),
        "COCO_val2014_000000000073": (seen[73], [("What is it?", {"traffic light": 1.0}, "73000")]),
    }
    broken = {"question 42002", "question 42003", "annotation 5"}
    return Judged(
        {"root": root, "images": images, "train_images": write_training(root)},
        records,
        [*paths, images],
        broken,
        skipped={"99000"},
        asked=3,
    )
