"""The accuracy of VQA (Antol et al. 2015, arXiv:1505.00468; VQA v2, arXiv:1612.00837) as its official
evaluation counts it.

Ten people answer each question. An answer is right as far as three others gave it: min(times / 3, 1),
averaged over the ten sets of nine people. Before that, texts are brought to one form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.intervals import Estimate
from metrics.sums import Mean

PEOPLE = 10
NEEDED = 3  # other people who say the same

ARTICLES = ("a", "an", "the")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
PERIOD = re.compile(r"\.(?!\d)")  # decimals keep theirs
DIGITS_WITH_COMMA = re.compile(r"\d,\d")

# Those that are no other word without their apostrophes.
CONTRACTIONS = [
    "ain't",
    "aren't",
    "can't",
    "could've",
    "couldn't",
    "couldn't've",
    "didn't",
    "doesn't",
    "don't",
    "hadn't",
    "hadn't've",
    "hasn't",
    "haven't",
    "he'd",
    "he'd've",
    "he's",
    "how'd",
    "how'll",
    "how's",
    "isn't",
    "it'd",
    "it'd've",
    "it'll",
    "ma'am",
    "mightn't",
    "mightn't've",
    "might've",
    "mustn't",
    "must've",
    "needn't",
    "not've",
    "o'clock",
    "oughtn't",
    "shan't",
    "she'd've",
    "should've",
    "shouldn't",
    "shouldn't've",
    "somebody'd've",
    "somebody'll",
    "somebody's",
    "someone'd",
    "someone'd've",
    "someone'll",
    "someone's",
    "something'd",
    "something'd've",
    "something'll",
    "that's",
    "there'd",
    "there'd've",
    "there're",
    "there's",
    "they'd",
    "they'd've",
    "they'll",
    "they're",
    "they've",
    "'twas",
    "wasn't",
    "we'd've",
    "we've",
    "weren't",
    "what'll",
    "what're",
    "what's",
    "what've",
    "when's",
    "where'd",
    "where's",
    "where've",
    "who'd",
    "who'd've",
    "who'll",
    "who's",
    "who've",
    "why'll",
    "why're",
    "why's",
    "won't",
    "would've",
    "wouldn't",
    "wouldn't've",
    "y'all",
    "y'all'll",
    "y'all'd've",
    "you'd",
    "you'd've",
    "you'll",
    "you're",
    "you've",
]


def _without_apostrophes(contraction: str) -> Iterator[str]:
    """The contraction without one or more of its apostrophes."""
    first, *others = contraction.split("'")
    for joints in product(("", "'"), repeat=len(others)):
        if "" in joints:
            yield first + "".join(joint + part for joint, part in zip(joints, others, strict=True))


CONTRACTION_OF = {
    incomplete: contraction
    for contraction in CONTRACTIONS
    for incomplete in _without_apostrophes(contraction)
}


def normalise_answer(answer: str) -> str:
    """An answer in the form in which answers are compared.

    Lower case; punctuation is deleted where a blank is beside it or a comma stands between digits, and else
    becomes a blank, but for apostrophes, colons and the point of a decimal; number words up to ten are
    digits; articles are deleted; contractions get their apostrophes back.

    Example:
        >>> normalise_answer("The two-way street, dont  park!")
        "2 way street don't park"
        >>> normalise_answer("1,000.5 kg.")
        '1000.5 kg'
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    deletes_all = DIGITS_WITH_COMMA.search(text) is not None
    without = text
    for mark in PUNCTUATION:
        deletes = deletes_all or f"{mark} " in text or f" {mark}" in text
        without = without.replace(mark, "" if deletes else " ")
    words = [DIGITS.get(word, word) for word in PERIOD.sub("", without).lower().split()]
    return " ".join(CONTRACTION_OF.get(word, word) for word in words if word not in ARTICLES)


def answer_accuracy(answer: str, shares: Mapping[str, float]) -> float:
    """How right an answer is, in [0, 1].

    Args:
        answer: as it was given.
        shares: of the ten people who gave each answer, as `datamodules.kinds.questions.Question` has them.

    Example:
        >>> answer_accuracy("Yes.", {"yes": 0.3, "no": 0.7})
        0.9
    """
    normal = normalise_answer(answer)
    same = [share for other, share in shares.items() if normalise_answer(other) == normal]
    times = round(PEOPLE * sum(same))
    of_those_who_said_it = times * min(max(times - 1, 0) / NEEDED, 1)
    of_the_others = (PEOPLE - times) * min(times / NEEDED, 1)
    return round((of_those_who_said_it + of_the_others) / PEOPLE, 12)


class VQAAccuracy(Metric):
    """The mean accuracy over questions."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.mean = Mean()

    def update(self, accuracies: Tensor) -> None:
        """Adds (Q,) float64 accuracies, see `answer_accuracy`."""
        self.mean.update(accuracies)

    def compute(self) -> dict[str, Estimate]:
        """``accuracy``, over all processes."""
        return {"accuracy": self.mean.compute()}


def accuracies_of(answers: list[str], shares: list[dict[str, float]]) -> Tensor:
    """The accuracies (Q,) float64 of the answers to Q questions."""
    pairs = zip(answers, shares, strict=True)
    return torch.tensor([answer_accuracy(answer, right) for answer, right in pairs], dtype=torch.float64)
