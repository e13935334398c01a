"""Judges whether a module finds the words of captions that are to be seen."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import TagBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanScoreTags, ScoredWords, TagScore
from metrics.tags import TagSelection

BASELINES = ("all words", "random")


class TagEvaluation(Evaluation):
    """Precision, recall, F1 and accuracy over all words and average precision over captions, beside baselines
    that look at nothing: all words, and a random ranking of which the upper half is taken.

    Args:
        scores: what words are scored by; a protocol each. Validation uses the first.
        seed: of the random ranking.
    """

    capability: ClassVar[type] = CanScoreTags
    batch_type: ClassVar[type] = TagBatch

    def __init__(self, scores: tuple[TagScore, ...] = ("pixel", "image", "text"), seed: int = 0) -> None:
        if not scores:
            raise ValueError("scores must name pixel, image, text or segment.")
        self.kinds = scores
        self.seed = seed

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], TagSelection]:
        """All kinds of scores and the baselines in ``test``; the first kind in ``val``."""
        if stage == "val":
            return {(self.kinds[0], "model"): TagSelection()}
        rows: list[tuple[str, str]] = [(kind, "model") for kind in self.kinds]
        rows += [(self.kinds[0], method) for method in BASELINES]
        return {row: TagSelection() for row in rows}

    def rules(self) -> dict[str, Any]:
        """That all words count that the data set knows of."""
        rules = "all words of all captions alike of which the data set knows whether they are tags"
        return {kind: {"score": kind, "judged": rules} for kind in self.kinds}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: TagBatch, scores: Scores) -> None:
        """Adds a batch."""
        kinds = [kind for kind, method in scores if method == "model"]
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            by_model = pl_module.score_tags(batch.images, batch.words, kinds)
        for (kind, method), score in scores.items():
            for number, tags in enumerate(batch.tags):
                if method == "model":
                    words = by_model[kind][number]
                else:
                    words = self._baseline(method, batch.keys[number], len(tags))
                judged = batch.judged[number] if batch.judged else [True] * len(tags)
                score.update(words.scores.float(), words.selected, tags, judged)

    def _baseline(self, method: str, key: str, words: int) -> ScoredWords:
        if method == "all words":
            return ScoredWords(torch.zeros(words), torch.ones(words, dtype=torch.bool))
        # Seeded by the image's name: the batch and process in which it comes do not matter.
        rng = np.random.default_rng([self.seed, *key.encode()])
        ranks = torch.from_numpy(rng.permutation(words)).float()
        return ScoredWords(ranks, ranks >= words / 2)
