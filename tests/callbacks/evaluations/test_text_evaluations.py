"""Span and rank evaluation through a trainer, and the pictures of groups."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.evaluations.ranking import RankEvaluation
from callbacks.evaluations.spans import SpanEvaluation
from callbacks.pictures.grounding import GREEN
from callbacks.pictures.groups import GroupPictures, assignments, draw_groups
from datamodules.batches import Preprocessing
from datamodules.errors import DataError
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.kinds.spans import SpanSource
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from tests.callbacks.judging import Data, judge

# Phrases are what "|" encloses; the model of the test groups by the words' first letters.
MARKED = [
    "|a ant| sees |bee by bee|",
    "|dog| runs",
    "no phrase here",
    "|elk| and |fox| and |gnu|",
    "|a ant| eats |bee|",
]


class Marked(SpanSource):
    def __len__(self) -> int:
        return len(MARKED)

    def key(self, index: int) -> str:
        return f"caption {index}"

    def words(self, index: int) -> list[str]:
        return MARKED[index].replace("|", "").split()

    def spans(self, index: int) -> list[tuple[int, int]]:
        parts = MARKED[index].split("|")
        ends = np.cumsum([len(part.split()) for part in parts]).tolist()
        return [(ends[n - 1], ends[n]) for n in range(1, len(parts), 2)]


class Shades(PairRankSource):
    """Images of one grey, texts that name a grey; the third image cannot be read."""

    pairs = (
        ("dark", "10", "200"),
        ("bright", "200", "10"),
        ("dark", "10", "torn"),
        ("dark", "10", "10"),
        ("bright", "10", "200"),
    )

    def __len__(self) -> int:
        return len(self.pairs)

    def key(self, index: int) -> str:
        return f"pair {index}"

    def pair(self, index: int) -> RankedPair:
        text, right, wrong = self.pairs[index]
        return RankedPair((right, text), (wrong, text), text)

    def image_named(self, name: str) -> np.ndarray:
        if name == "torn":
            raise DataError("torn")
        return np.full((4, 4, 3), int(name), np.uint8)


class Module(WeakgroundModule):
    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
        return [(soft.argmax(0).tolist(), words) for soft, words in self.assignments(captions)]

    def assignments(self, captions: list[str]) -> list[tuple[Tensor, list[int]]]:
        assigned = []
        for caption in captions:
            letters = [ord(word[0]) - ord("a") for word in caption.split()]
            assigned.append((torch.eye(26)[letters].t(), list(range(len(letters)))))
        return assigned

    def match(self, images: Tensor, texts: list[str]) -> Tensor:
        grey = images.mean((1, 2, 3))
        return torch.stack([grey if text == "bright" else -grey for text in texts], dim=1)


@pytest.mark.filterwarnings("ignore")
def test_groups_are_judged_beside_baselines(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(spans=Marked()), Module(), SpanEvaluation(("word",), pieces=2))
    assert logged == pytest.approx(
        {f"test/spans/word/{name}": 1.0 for name in ("tiou", "precision", "recall", "f1")}
    )
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    values = {
        result["method"]: (result["value"], result["n"])
        for result in content["results"]
        if result["metric"] == "tiou"
    }
    assert all(n == 4 for _, n in values.values())
    assert values["one group"][0] == pytest.approx((3 / 5 + 1 + 1 / 3 + 2 / 3) / 4, abs=1e-5)
    # Halves: "a ant sees | bee by bee" 1, "dog | runs" 1, "elk and fox | and gnu" (1/2 + 1)/2, "a ant | eats
    # bee" 1.
    assert values["equal pieces"][0] == pytest.approx((1 + 1 + 0.75 + 1) / 4, abs=1e-5)
    assert values["function words"][0] < 1
    assert content["protocols"]["word"]["groups of the baselines"] == 2


@pytest.mark.filterwarnings("ignore")
def test_baselines_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    results = []
    for size in (1, 5):
        data = Data(spans=Marked())
        data.eval_batch_size = size
        judge(tmp_path / str(size), data, Module(), SpanEvaluation())
        results.append(json.loads((tmp_path / str(size) / "test" / "metrics.json").read_text())["results"])
    assert results[0] == results[1]


@pytest.mark.filterwarnings("ignore")
def test_pairs_are_right_where_the_right_one_scores_higher(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(shades=Shades()), Module(), RankEvaluation())
    # dark: right, unreadable, a tie; bright: right, wrong.
    assert logged == pytest.approx(
        {
            "test/shades/pairs/accuracy": 0.5,
            "test/shades/pairs/accuracy_dark": 0.5,
            "test/shades/pairs/accuracy_bright": 0.5,
        }
    )
    results = json.loads((tmp_path / "test" / "metrics.json").read_text())["results"]
    assert {result["metric"]: result["n"] for result in results} == {
        "accuracy": 4,
        "accuracy_bright": 2,
        "accuracy_dark": 2,
    }


@pytest.mark.filterwarnings("ignore")
def test_each_evaluation_judges_its_own_kind(tmp_path: Path) -> None:
    logged = judge(
        tmp_path,
        Data(spans=Marked(), shades=Shades()),
        Module(),
        SpanEvaluation(),
        RankEvaluation(),
        GroupPictures(3),
    )
    assert {name.split("/")[1] for name in logged} == {"spans", "shades"}
    assert [path.name for path in (tmp_path / "test" / "pictures").iterdir()] == ["spans.png"]
    picture = cv2.imread(str(tmp_path / "test" / "pictures" / "spans.png"))
    assert picture is not None
    assert picture.shape[0] > 3 * 26 * 20  # three captions of 26 groups


def test_a_module_that_cannot_group_is_refused(tmp_path: Path) -> None:
    class Other(WeakgroundModule):
        def __init__(self) -> None:
            super().__init__(Optimisation(), None)
            self.network = torch.nn.Linear(1, 1)
            self.preprocessing = Preprocessing(4, (0.0,) * 3, (1.0,) * 3)

    for callback, needed in (
        (SpanEvaluation(), "group_tokens"),
        (RankEvaluation(), "match"),
        (GroupPictures(), "group_tokens"),
    ):
        with pytest.raises(ModelError, match=needed):
            judge(tmp_path, Data(spans=Marked()), Other(), callback)


def test_a_picture_shows_the_likeliest_group_and_the_gold_phrases() -> None:
    soft = np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]])
    picture = draw_groups(["red", "dog", "runs"], [0, 1, 2], soft, [(0, 2)])
    green = (picture == GREEN).all(-1)
    assert green.any()
    assert not green[:, -30:].any()  # "runs" is in no phrase
    dark = picture.sum(-1) < 450
    assert dark[26:52, 100:130].sum() > dark[52:78, 100:130].sum()
    one_word = draw_groups(["a", "b"], [1], np.ones((2, 1)) / 2, [])  # "a" has no token
    assert one_word.shape[0] == 3 * 26 + 6
    assert one_word.shape[1] < picture.shape[1]


def test_groups_without_shares_are_drawn_whole() -> None:
    class Groups:
        def group_tokens(self, captions: list[str]) -> list[tuple[list[int], list[int]]]:
            return [([0, 2, 2], [0, 0, 1]) for _ in captions]

    ((soft, words),) = assignments(Groups(), ["a b"])
    assert soft.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert words == [0, 0, 1]
