"""Judges whether a module finds images by their captions and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
import torch

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.retrieval.index import Collected, contrast_ranks, index_of
from callbacks.retrieval.reranking import SecondLook, reranked
from datamodules.batches import RetrievalBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanRetrieve
from metrics.retrieval import ChanceRecalls, Recalls

Ranking = Literal["contrast", "rerank"]


class RetrievalEvaluation(Evaluation):
    """Recall among the first 1, 5 and 10 from images to texts (TR, the best own text counts) and from texts
    to images (IR), over the whole set, beside chance.

    ``contrast`` ranks everything by the similarity of features. ``rerank`` takes the best candidates of that,
    in both directions, and ranks these by a second look at image and text together; what is no candidate is
    not found. Images are encoded once; their tokens are kept on the CPU in half precision.

    Args:
        rankings: which of the two; validation uses the first.
        candidates: of each image and of each text; 128 for Flickr30k and 256 for COCO in the public codes of
            ALBEF and BLIP.
        pairs_per_pass: texts that an image is compared with at once; bounds the memory.

    Raises:
        ValueError: no ranking, or no candidates.
    """

    capability: ClassVar[type] = CanRetrieve
    batch_type: ClassVar[type] = RetrievalBatch

    def __init__(
        self,
        rankings: tuple[Ranking, ...] = ("rerank", "contrast"),
        candidates: int = 128,
        pairs_per_pass: int = 256,
    ) -> None:
        if not rankings:
            raise ValueError("rankings must name contrast, rerank or both")
        if min(candidates, pairs_per_pass) < 1:
            raise ValueError("candidates and pairs_per_pass must be at least 1")
        self.rankings = rankings
        self.candidates = candidates
        self.pairs_per_pass = pairs_per_pass
        self.collected: dict[int, Collected] = {}

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], Recalls | ChanceRecalls]:
        """All rankings and chance in ``test``; the module under the first ranking in ``val``."""
        if stage == "val":
            return {(self.rankings[0], "model"): Recalls()}
        scores: dict[tuple[str, str], Recalls | ChanceRecalls] = {}
        for ranking in self.rankings:
            scores[ranking, "model"] = Recalls()
            scores[ranking, "random"] = ChanceRecalls()
        return scores

    def rules(self) -> dict[str, Any]:
        """What each ranking does."""
        rules: dict[Ranking, dict[str, Any]] = {
            "contrast": {"ranked by": "similarity of features", "candidates": "all"},
            "rerank": {"ranked by": "second look", "candidates": self.candidates},
        }
        return {ranking: rules[ranking] | {"ties": "wrong ones first"} for ranking in self.rankings}

    def begin(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Nothing is collected yet."""
        super().begin(trainer, pl_module, stage)
        self.collected.clear()
        for scores in self.scores.values():
            self.begin_set(scores)

    def begin_set(self, scores: Scores) -> None:
        """Nothing is collected of a set."""
        self.collected[id(scores)] = Collected()

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: RetrievalBatch, scores: Scores) -> None:
        """Encodes the images of a batch."""
        features, tokens = _in_its_precision(trainer, pl_module.embed_images)(batch.images)
        looks_twice = ("rerank", "model") in scores
        collected = self.collected[id(scores)]
        collected.add(batch.keys, batch.captions, features, tokens if looks_twice else None)

    def finish(self, trainer: pl.Trainer, pl_module: Any, scores: Scores) -> None:
        """Encodes the texts, and ranks; each process counts its share of the queries."""
        collected = self.collected.pop(id(scores))
        share = slice(trainer.global_rank, None, trainer.world_size)
        index = index_of(collected, _in_its_precision(trainer, pl_module.embed_texts), share)
        if not len(index.image_features):
            return
        look = SecondLook(
            _in_its_precision(trainer, pl_module.match_scores),
            pl_module.match_scores_add_similarity,
            collected.token_type,
            self.candidates,
            self.pairs_per_pass,
        )
        for (ranking, method), score in scores.items():
            if method == "random":
                score.update(index.texts_of_images)
                continue
            if ranking == "contrast":
                from_images, from_texts = contrast_ranks(index)
            else:
                from_images, from_texts = reranked(index, collected.tokens, look)
            score.update("TR", from_images[share])
            score.update("IR", from_texts[share])


def _in_its_precision(trainer: pl.Trainer, method: Callable[..., Any]) -> Callable[..., Any]:
    """A module's method without gradients and in the precision of the run, which similarities are not in."""

    def call(*arguments: Any) -> Any:
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            return method(*arguments)

    return call
