"""The second look: candidates that features find are read together with their images, and ranked anew.

Legend: N images, n of them of this process, U distinct texts, K candidates of an image or of a text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from callbacks.retrieval.index import SetIndex, best_candidates
from metrics.retrieval import ranks_of_right
from metrics.whole_set import summed_over_processes

SECONDS_BETWEEN_LINES = 60


@dataclass(frozen=True)
class SecondLook:
    """How candidates are looked at.

    Args:
        match_scores: see `lightning_modules.capabilities.CanRetrieve`.
        adds_similarity: whether the similarity of the features is added to what that says.
        token_type: in which it wants the tokens of images.
        candidates: K, of each image and of each text.
        pairs_per_pass: texts that an image is compared with at once.
    """

    match_scores: Callable[[Tensor, list[str], Tensor], Tensor]
    adds_similarity: bool
    token_type: torch.dtype
    candidates: int
    pairs_per_pass: int


class Task(NamedTuple):
    """All that an image is to be compared with: its own candidates, and the texts whose candidate it is.

    Args:
        image: its row.
        texts: of the index, ascending.
        places: where the image stands among the candidates (U,K) of all texts, flattened.
    """

    image: int
    texts: Tensor
    places: Tensor


def reranked(index: SetIndex, tokens: Sequence[Tensor], look: SecondLook) -> tuple[Tensor, Tensor]:
    """The ranks of `callbacks.retrieval.index.contrast_ranks` after the second look.

    Every image is compared on the process that encoded it, with all of its texts one after the other, whether
    it was a candidate of them or they of it: no pair is read twice, the image is projected once in a pass,
    and no process needs the tokens of another. What is no candidate counts as not found.

    Args:
        index: of the whole set.
        tokens: of the images ``index.own_images``, (L,D) each.
        look: how candidates are looked at.
    """
    texts_of_image = best_candidates(index.image_features, index.text_features, look.candidates)
    images_of_text = best_candidates(index.text_features, index.image_features, look.candidates)
    scores_of_image = torch.zeros_like(texts_of_image, dtype=torch.float32)
    scores_of_text = torch.zeros_like(images_of_text, dtype=torch.float32)
    tasks = list(_tasks(index.own_images, texts_of_image, images_of_text))
    progress = Progress(tasks, look.pairs_per_pass)
    width = images_of_text.shape[1]
    for task, image_tokens in zip(tasks, tokens, strict=True):
        scores = pair_scores(index, task, image_tokens, look)
        own = texts_of_image[task.image]
        scores_of_image[task.image] = scores[torch.searchsorted(task.texts, own)]
        scores_of_text.view(-1)[task.places] = scores[torch.searchsorted(task.texts, task.places // width)]
        progress.advance(len(task.texts))
    progress.close()
    return _ranks(
        index,
        texts_of_image,
        images_of_text,
        summed_over_processes(scores_of_image),
        summed_over_processes(scores_of_text),
    )


def _tasks(own_images: Tensor, texts_of_image: Tensor, images_of_text: Tensor) -> Iterator[Task]:
    """A task for each image of this process."""
    sorted_images, order = images_of_text.flatten().sort(stable=True)
    bounds = torch.arange(len(texts_of_image) + 1, device=order.device)
    starts = torch.searchsorted(sorted_images, bounds).tolist()
    for image in own_images.tolist():
        places = order[starts[image] : starts[image + 1]]
        asking = places // images_of_text.shape[1]
        yield Task(image, torch.cat([texts_of_image[image], asking]).unique(), places)


def pair_scores(index: SetIndex, task: Task, tokens: Tensor, look: SecondLook) -> Tensor:
    """The scores (T,) float32 of an image's T texts."""
    device = index.image_features.device
    image_tokens = tokens[None].to(device, look.token_type)
    scores = []
    for texts in task.texts.split(look.pairs_per_pass):
        written = [index.texts[text] for text in texts.tolist()]
        image_of_text = torch.zeros(len(texts), dtype=torch.long, device=device)
        logits = look.match_scores(image_tokens, written, image_of_text).float()
        if look.adds_similarity:
            logits = logits + index.text_features[texts] @ index.image_features[task.image]
        scores.append(logits)
    return torch.cat(scores)


def _ranks(
    index: SetIndex,
    texts_of_image: Tensor,
    images_of_text: Tensor,
    scores_of_image: Tensor,
    scores_of_text: Tensor,
) -> tuple[Tensor, Tensor]:
    """The ranks of images (N,) and of queries (Q,) by the scores of their candidates."""
    texts, images = index.queries.unbind(dim=1)
    rows = torch.arange(len(texts_of_image), device=texts.device)[:, None]
    number_of_texts = len(index.texts)
    own = torch.isin(rows * number_of_texts + texts_of_image, images * number_of_texts + texts)
    from_images = ranks_of_right(scores_of_image, own, index.counts[texts_of_image])
    from_texts = ranks_of_right(scores_of_text[texts], images_of_text[texts] == images[:, None])
    return from_images, from_texts


class Progress:
    """Says how many pairs there are to be read, how far it is, and how fast it goes.

    Args:
        tasks: of this process.
        pairs_per_pass: texts that an image is compared with at once.
    """

    def __init__(self, tasks: Sequence[Task], pairs_per_pass: int) -> None:
        self.pairs = sum(len(task.texts) for task in tasks)
        self.done = 0
        self.started = time.monotonic()
        self.last_line = self.started
        passes = sum(-(-len(task.texts) // pairs_per_pass) for task in tasks)
        rank_zero_info(
            f"re-ranking: {self.pairs:,} pairs of {len(tasks):,} images and their candidates, "
            f"in {passes:,} passes on each process"
        )

    def advance(self, pairs: int) -> None:
        """Takes note of pairs that were read; says so once a minute."""
        self.done += pairs
        if time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            rank_zero_info(f"re-ranking: {self.done:,} of {self.pairs:,} pairs, {self.rate:,.0f} pairs/s")

    @property
    def rate(self) -> float:
        """Pairs a second since the start."""
        return self.done / max(1e-9, time.monotonic() - self.started)

    def close(self) -> None:
        """Says how fast it was."""
        seconds = time.monotonic() - self.started
        rank_zero_info(f"re-ranked {self.done:,} pairs in {seconds:,.1f} s, {self.rate:,.0f} pairs/s")
