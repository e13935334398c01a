"""A kind of evaluation that needs the whole set, as a stranger would write it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.wrappers.abstract import WrapperMetric

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import Preprocessing, RetrievalBatch
from datamodules.handover import JudgedSet
from datamodules.kinds.retrieval import RetrievalSource
from lightning_modules.base import WeakgroundModule
from lightning_modules.optimisation import Optimisation
from metrics.intervals import Estimate
from metrics.sums import Rate
from metrics.whole_set import WholeSet, key_numbers
from tests.callbacks.judging import Data, judge

# The grey of each image, and its captions, which name a grey. Two captions are nearer to an image of another
# batch.
GREYS = [10, 50, 100, 150, 200]
CAPTIONS = [["12"], ["55", "96"], ["99"], ["140", "52"], ["190"]]
RECALL = 5 / 7


class Greys(RetrievalSource):
    def __len__(self) -> int:
        return len(GREYS)

    def key(self, index: int) -> str:
        return f"{index}.jpg"

    def image(self, index: int) -> np.ndarray:
        return np.full((4, 4, 3), GREYS[index], np.uint8)

    def captions(self, index: int) -> list[str]:
        return CAPTIONS[index]


@runtime_checkable
class CanEmbed(Protocol):
    def embed_images(self, images: Tensor) -> Tensor: ...

    def embed_texts(self, texts: list[str]) -> Tensor: ...


class Module(WeakgroundModule):
    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def embed_images(self, images: Tensor) -> Tensor:
        return 255 * images.mean((1, 2, 3))[:, None]

    def embed_texts(self, texts: list[str]) -> Tensor:
        return torch.tensor([[float(text)] for text in texts])


class Recall(WrapperMetric):
    """How many captions are nearest to their own image."""

    def __init__(self) -> None:
        super().__init__()
        self.images = WholeSet(width=1)
        self.texts = WholeSet(width=1)
        self.image_of_text = WholeSet(width=1, dtype=torch.long)
        self.rate = Rate()

    def update(self, keys: list[str], images: Tensor, texts: list[Tensor]) -> None:
        """(N,1) features of images, and of each image the (M,1) features of its captions."""
        self.images.update(keys, images)
        for key, features in zip(keys, texts, strict=True):
            text_keys = [f"{key}#{number}" for number in range(len(features))]
            self.texts.update(text_keys, features)
            self.image_of_text.update(text_keys, key_numbers([key] * len(features))[:, None])

    def compute(self) -> dict[str, Estimate]:
        return {"recall": self.rate.compute()}


class RecallEvaluation(Evaluation):
    capability = CanEmbed
    batch_type = RetrievalBatch

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], Recall]:
        return {("nearest", "model"): Recall()}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: RetrievalBatch, scores: Scores) -> None:
        images = pl_module.embed_images(batch.images)
        texts = [pl_module.embed_texts(captions) for captions in batch.captions]
        scores["nearest", "model"].update(batch.keys, images, texts)

    def finish(self, trainer: pl.Trainer, pl_module: Any, scores: Scores) -> None:
        score = scores["nearest", "model"]
        image_keys, images = score.images.compute()
        _, texts = score.texts.compute()
        _, image_of_text = score.image_of_text.compute()
        own = slice(trainer.global_rank, None, trainer.world_size)
        nearest = torch.cdist(texts[own], images).argmin(1)
        score.rate.update(image_keys[nearest] == image_of_text[own, 0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [1, 2, 5])
def test_it_sees_the_whole_set_whatever_the_batches(size: int, tmp_path: Path) -> None:
    data = Data(greys=Greys())
    data.eval_batch_size = size
    assert judge(tmp_path, data, Module(), RecallEvaluation()) == pytest.approx(
        {"test/greys/nearest/recall": RECALL}
    )


def test_shares_of_the_processes_are_the_whole() -> None:
    scores: list[Recall] = []
    for rank in range(3):
        score = Recall()
        texts = [Module().embed_texts(captions) for captions in CAPTIONS]
        score.update([f"{n}.jpg" for n in range(5)], torch.tensor(GREYS).float()[:, None], texts)
        trainer: Any = SimpleNamespace(global_rank=rank, world_size=3)
        RecallEvaluation().finish(trainer, None, {("nearest", "model"): score})
        scores.append(score)
    assert sum(int(score.rate.total) for score in scores) == 7
    assert sum(int(score.rate.hits) for score in scores) == 5
