"""Judges how a module groups the words of captions, by the phrases that a human marked in them."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import SpanBatch
from lightning_modules.capabilities import CanGroupTokens
from metrics.token_groups import equal_pieces, function_word_pieces, of_words, one_group, random_groups
from metrics.token_iou import Level, TokenIoU

Grouped = list[tuple[list[int], list[int]]]
BASELINES = ("one group", "random", "equal pieces", "function words")


class SpanEvaluation(Evaluation):
    """tIoU, precision, recall and F1, beside groupings that no model has found: all in one, at random, equal
    pieces, pieces cut at function words.

    Equal pieces are the one to beat: phrases do not cross each other, so any cut into consecutive pieces is
        half right.

    Args:
        levels: what a token is, a ``subword`` piece of the model's or a ``word``; validation uses the first.
        pieces: number of groups of ``random`` and ``equal pieces``; 4 as in the paper.
        seed: of the random groups.
    """

    capability: ClassVar[type] = CanGroupTokens
    batch_type: ClassVar[type] = SpanBatch

    def __init__(
        self, levels: tuple[Level, ...] = ("subword", "word"), pieces: int = 4, seed: int = 0
    ) -> None:
        if not levels or pieces < 1:
            raise ValueError("levels must name subword or word, and pieces be at least 1.")
        self.levels, self.pieces, self.seed = levels, pieces, seed

    def new_scores(self, dataset: str, source: Any, stage: str) -> dict[tuple[str, str], TokenIoU]:
        methods = ("model", *BASELINES) if stage == "test" else ("model",)
        return {
            (level, method): TokenIoU(level)
            for level in (self.levels if stage == "test" else self.levels[:1])
            for method in methods
        }

    def rules(self) -> dict[str, Any]:
        return {level: {"token": level, "groups of the baselines": self.pieces} for level in self.levels}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: SpanBatch, scores: Scores) -> None:
        with trainer.precision_plugin.forward_context():
            found: Grouped = pl_module.group_tokens([" ".join(words) for words in batch.words])
        grouped = {
            method: self._baseline(method, batch, found)
            for method in dict.fromkeys(method for _, method in scores)
        }
        for (_, method), score in scores.items():
            score.update(grouped[method], batch.spans)

    def _baseline(self, method: str, batch: SpanBatch, found: Grouped) -> Grouped:
        """The groups of a baseline over the model's own tokens."""
        if method == "model":
            return found
        grouped = []
        for key, words, (_, word_of_token) in zip(batch.keys, batch.words, found, strict=True):
            tokens = len(word_of_token)
            match method:
                case "one group":
                    groups = one_group(tokens)
                case (
                    "random"
                ):  # by the caption's name, so that the batches and processes in which it comes do not matter
                    groups = random_groups(
                        tokens, self.pieces, np.random.default_rng([self.seed, *key.encode()])
                    )
                case "equal pieces":
                    groups = equal_pieces(tokens, self.pieces)
                case _:
                    groups = of_words(function_word_pieces(words), word_of_token)
            grouped.append((groups, word_of_token))
        return grouped
