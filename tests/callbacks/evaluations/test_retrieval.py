"""Retrieval over a whole set, against a search that compares everything with everything."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from callbacks.evaluations.retrieval import RetrievalEvaluation
from datamodules.batches import RetrievalBatch
from datamodules.errors import DataError
from datamodules.kinds.retrieval import RetrievalSource
from metrics.retrieval import FIRST
from tests.callbacks.judging import Capable, Data, judge

# Texts of several lengths; one belongs to two images, and one image has it twice.
CAPTIONS = [
    ["a", "ab", "twice"],
    ["abc"],
    ["twice", "abcdefg", "twice"],
    ["abcdefgh", "abcdefghij"],
    ["zz", "zzz"],
    ["xxxxxxxxxxxx"],
]
NUMBERS = torch.rand(len(CAPTIONS), 3, generator=torch.Generator().manual_seed(3)).mul(200).long()
TEXTS = sorted({text for captions in CAPTIONS for text in captions})


class Module(Capable):
    """Features and scores that hang on an image's colour and a text's letters, in no simple order."""

    match_scores_add_similarity = False

    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.encoded = getattr(self, "encoded", 0) + len(images)
        colours = (255 * images[:, :, 0, 0]).round()
        return torch.sin(colours), colours[:, None]

    def embed_texts(self, texts: list[str]) -> Tensor:
        codes = torch.tensor([[float(len(text)), float(ord(text[0]) % 7), 1.0] for text in texts])
        return torch.cos(1.3 * codes)

    def match_scores(self, image_tokens: Tensor, texts: list[str], image_of_text: Tensor) -> Tensor:
        self.read = getattr(self, "read", 0) + len(texts)
        codes = torch.tensor([[float(len(text)), float(ord(text[0]) % 5), 2.0] for text in texts])
        return 10 * torch.sin((image_tokens[image_of_text, 0] * codes).sum(dim=1))


class Colours(RetrievalSource):
    def __len__(self) -> int:
        return len(CAPTIONS)

    def key(self, index: int) -> str:
        return f"{index}.jpg"

    def image(self, index: int) -> np.ndarray:
        return np.broadcast_to(NUMBERS[index].numpy().astype(np.uint8), (4, 4, 3)).copy()

    def captions(self, index: int) -> list[str]:
        return CAPTIONS[index]


def images_of(indices: tuple[int, ...]) -> Tensor:
    return (NUMBERS[list(indices)] / 255)[:, :, None, None].expand(-1, -1, 4, 4)


def ranks_by_hand(candidates: int | None, adds: bool = False) -> tuple[list[float], list[float]]:
    """Of every image and of every caption, by plain loops; with ``candidates``, after a second look."""
    module = Module()
    features, tokens = module.embed_images(images_of(tuple(range(len(CAPTIONS)))))
    similarity = {
        (image, text): float(features[image] @ module.embed_texts([text])[0])
        for image in range(len(CAPTIONS))
        for text in TEXTS
    }
    second = {
        (image, text): float(module.match_scores(tokens[image : image + 1], [text], torch.tensor([0])))
        + adds * similarity[image, text]
        for image, text in similarity
    }

    def rank(pairs: list[tuple[int, str]], right: set[tuple[int, str]], times: dict[str, int]) -> float:
        scores = similarity
        if candidates:
            pairs = sorted(pairs, key=similarity.__getitem__, reverse=True)[:candidates]
            scores = second
        own = [scores[pair] for pair in pairs if pair in right]
        if not own:
            return np.inf
        return sum(times[pair[1]] for pair in pairs if pair not in right and scores[pair] >= max(own))

    entries = [text for captions in CAPTIONS for text in captions]
    times = {text: entries.count(text) for text in TEXTS}
    once = dict.fromkeys(TEXTS, 1)
    images = range(len(CAPTIONS))
    from_images = [
        rank([(image, text) for text in TEXTS], {(image, text) for text in CAPTIONS[image]}, times)
        for image in images
    ]
    from_texts = [
        rank([(other, text) for other in images], {(image, text)}, once)
        for image in images
        for text in CAPTIONS[image]
    ]
    return from_images, from_texts


def rates(ranks: tuple[list[float], list[float]]) -> dict[str, float]:
    return {
        f"{direction}@{first}": sum(rank < first for rank in of_direction) / len(of_direction)
        for direction, of_direction in zip(("TR", "IR"), ranks, strict=True)
        for first in FIRST
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("batch", "candidates", "adds"), [(1, 2, False), (4, 3, True), (6, 50, False)])
def test_it_ranks_as_a_search_by_hand(batch: int, candidates: int, adds: bool, tmp_path: Path) -> None:
    data = Data(colours=Colours())
    data.eval_batch_size = batch
    module = Module()
    module.match_scores_add_similarity = adds
    logged = judge(tmp_path, data, module, RetrievalEvaluation(candidates=candidates, pairs_per_pass=2))
    for ranking, ranks in (("contrast", ranks_by_hand(None)), ("rerank", ranks_by_hand(candidates, adds))):
        for name, value in rates(ranks).items():
            assert logged[f"test/colours/{ranking}/{name}"] == pytest.approx(value), (ranking, name)
    assert module.encoded == len(CAPTIONS), "every image is encoded once"
    assert module.read <= len(CAPTIONS) * len(TEXTS), "no pair is read twice"


@pytest.mark.filterwarnings("ignore")
def test_it_says_how_many_pairs_and_passes_there_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    judge(tmp_path, Data(colours=Colours()), Module(), RetrievalEvaluation(candidates=50, pairs_per_pass=4))
    assert f"{6 * len(TEXTS)} pairs of 6 images" in caplog.text
    assert f"in {6 * 3} passes" in caplog.text
    assert "pairs/s" in caplog.text


class Torn(Colours):
    def image(self, index: int) -> np.ndarray:
        raise DataError("torn")


@pytest.mark.filterwarnings("ignore")
def test_without_a_readable_image_nothing_is_judged(tmp_path: Path) -> None:
    logged = judge(tmp_path, Data(colours=Torn()), Module(), RetrievalEvaluation())
    assert np.isnan(list(logged.values())).all()


def test_options_that_judge_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="rankings"):
        RetrievalEvaluation(rankings=())
    with pytest.raises(ValueError, match="at least 1"):
        RetrievalEvaluation(candidates=0)


def judged_by(rank: int, batches: list[tuple[int, ...]]) -> dict[str, Any]:
    """The numbers after the batches of one process."""
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    trainer: Any = SimpleNamespace(
        global_rank=rank, world_size=world_size, precision_plugin=SimpleNamespace(forward_context=nullcontext)
    )
    evaluation = RetrievalEvaluation(candidates=3, pairs_per_pass=2)
    scores: Any = evaluation.new_scores(None, "test")  # type: ignore[arg-type]
    evaluation.begin_set(scores)
    for batch in batches:
        keys = [f"{index}.jpg" for index in batch]
        captions = [CAPTIONS[index] for index in batch]
        evaluation.update(trainer, Module(), RetrievalBatch(images_of(batch), captions, keys), scores)
    evaluation.finish(trainer, Module(), scores)
    return {"/".join(key): score.compute() for key, score in scores.items()}


# A process that has nothing, and uneven shares.
SHARES: list[list[list[tuple[int, ...]]]] = [[[(4, 1), (0,)], [(2, 3, 5)]], [[], [(0, 1, 2, 3, 4, 5)]]]


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save([judged_by(rank, shares[rank]) for shares in SHARES], Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_two_processes_give_the_digits_of_one(tmp_path: Path) -> None:
    mp.start_processes(_process, (str(tmp_path),), nprocs=2, start_method="fork")  # imports nothing again
    alone = judged_by(0, [(0, 1, 2, 3), (4, 5)])
    for rank in (0, 1):
        for results in torch.load(tmp_path / f"{rank}.pt", weights_only=False):
            assert str(results) == str(alone)
