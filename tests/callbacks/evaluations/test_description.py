"""What a module finds by itself is judged; random phrases are judged by as many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks.evaluations.description import BANK, DescriptionEvaluation, read_bank, texts_on_images
from callbacks.evaluations.grounding import GroundingEvaluation
from datamodules.kinds.grounding import GroundingView, collate_queries
from datamodules.sets.scenes import SceneSource
from lightning_modules.errors import ModelError
from tests.callbacks.judging import Capable, Data, judge
from tests.datamodules.feeding import PLAIN


class Knowing(Capable):
    """Finds in each image exactly what will be asked, or nothing in every second image."""

    def __init__(self, source: SceneSource, silent_on: int = 10**9) -> None:
        super().__init__()
        self.source = source
        self.silent_on = silent_on
        self.seen = 0
        self.words = sorted({query.phrase for index in range(len(source)) for query in source.queries(index)})

    def describe(self, images: Any, bank: Any, regions: str = "grid") -> list[list[str]]:
        texts = []
        for _ in images:
            queries = self.source.queries(self.seen)
            texts.append([] if self.seen == self.silent_on else [query.phrase for query in queries])
            self.seen += 1
        return texts

    def encode_texts(self, texts: Any) -> Tensor:
        known = [*self.words, "another"]
        return torch.eye(len(known))[[known.index(text) if text in known else -1 for text in texts]]

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        """Another place for each phrase."""
        places = [sum(map(ord, phrase)) % 64 for phrase in phrases]
        return torch.eye(64)[places].view(-1, 8, 8)


@pytest.mark.filterwarnings("ignore")
def test_what_is_found_is_judged_as_if_it_had_been_asked_for(tmp_path: Path) -> None:
    source = SceneSource(0, "test", 5, 32)
    asked = judge(tmp_path / "asked", Data(scenes=source), Knowing(source), GroundingEvaluation(["clean"]))
    by_itself = judge(
        tmp_path / "found", Data(scenes=source), Knowing(source), DescriptionEvaluation(["clean"])
    )
    for metric in ("pointing_game", "box_accuracy", "mean_iou"):
        assert by_itself[f"test/scenes/described_clean/{metric}"] == asked[f"test/scenes/clean/{metric}"]
    assert by_itself["test/scenes/described_clean/answered"] == 1


@pytest.mark.filterwarnings("ignore")
def test_an_image_in_which_nothing_is_found(tmp_path: Path) -> None:
    source = SceneSource(0, "test", 5, 32)
    evaluation = DescriptionEvaluation(["clean"])
    judge(tmp_path, Data(scenes=source), Knowing(source, silent_on=2), evaluation)
    counts = {(result.method, result.metric): result.n for result in evaluation.results}
    missed = len(source.queries(2))
    for method in ("model", "random_phrases"):
        all_queries = counts[method, "pointing_game"]
        assert all_queries == source_queries(source)
        assert counts[method, "pointing_game_answered"] == all_queries - missed


def source_queries(source: SceneSource) -> int:
    return sum(len(source.queries(index)) for index in range(len(source)))


def test_random_phrases_are_those_of_the_image() -> None:
    evaluation = DescriptionEvaluation()
    assert (
        evaluation.random_phrases("a", 5)
        == evaluation.random_phrases("a", 5)
        != evaluation.random_phrases("b", 5)
    )
    assert len(set(evaluation.random_phrases("a", 5))) == 5
    assert len(evaluation.random_phrases("a", 10**6)) == len(evaluation.bank)


def test_texts_on_images() -> None:
    view = GroundingView(SceneSource(0, "test", 3, 32), PLAIN)
    batch = collate_queries([view[index] for index in range(3)])
    found = texts_on_images(batch, [["a"], [], ["b", "c"]])
    assert found.images is batch.images
    assert found.phrases == ["a", "b", "c"]
    assert found.image_of_query.tolist() == [0, 2, 2]


def test_banks(tmp_path: Path) -> None:
    assert len(read_bank(BANK)) > 500
    with pytest.raises(ModelError, match="there is no bank of phrases at"):
        DescriptionEvaluation(bank=tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ModelError, match="is empty; write phrases into it"):
        DescriptionEvaluation(bank=tmp_path / "empty.txt")
