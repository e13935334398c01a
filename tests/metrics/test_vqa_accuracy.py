"""Cases worked out by hand from the official rule (https://visualqa.org/evaluation.html)."""

from __future__ import annotations

import pytest
import torch

from metrics.vqa_accuracy import VQAAccuracy, accuracies_of, answer_accuracy, normalise_answer


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("Yes", "yes"),
        ("a cat", "cat"),
        ("The man and an apple", "man and apple"),
        ("two", "2"),
        ("None", "0"),
        ("ten dogs", "10 dogs"),
        ("twenty", "twenty"),
        ("3.5", "3.5"),
        ("St. Louis.", "st louis"),
        ("1,000", "1000"),
        ("t-shirt", "t shirt"),
        ("red, white", "red white"),
        ("red,white", "red white"),
        ("stop!", "stop"),
        ("what?", "what"),
        ("10:30", "10:30"),
        ("man's", "man's"),
        ("dont", "don't"),
        ("couldntve", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("well", "well"),
        ("  on\tthe \n table ", "on table"),
    ],
)
def test_texts_are_brought_to_one_form(answer: str, normal: str) -> None:
    assert normalise_answer(answer) == normal
    assert normalise_answer(normal) == normal


# Of ten people, n said it. Leaving one of them out leaves n - 1 others who did (n times) or n (10 - n times):
# the mean of min(others / 3, 1).
@pytest.mark.parametrize(
    ("people", "accuracy"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0), (10, 1.0)],
)
def test_three_others_make_an_answer_right(people: int, accuracy: float) -> None:
    shares = {"blue": people / 10, "green": 1 - people / 10}
    assert answer_accuracy("blue", shares) == pytest.approx(accuracy)


def test_answers_of_the_same_meaning_count_together() -> None:
    shares = {"two": 0.1, "2": 0.1, "Two.": 0.1, "many": 0.7}
    assert answer_accuracy("2", shares) == pytest.approx(0.9)
    assert answer_accuracy("a two", shares) == pytest.approx(0.9)


def test_the_mean_is_over_questions() -> None:
    score = VQAAccuracy()
    shares = [{"red": 1.0}, {"red": 0.2, "blue": 0.8}]
    score.update(accuracies_of(["red", "red"], shares))
    score.update(accuracies_of(["no"], [{"yes": 1.0}]))
    estimate = score.compute()["accuracy"]
    assert estimate.value == pytest.approx(1.6 / 3)
    assert estimate.n == 3
    assert accuracies_of([], []).dtype == torch.float64
