"""Judges how a module groups the words of captions, by the phrases that a human marked in them."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import SpanBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanGroupTokens
from metrics.token_groups import equal_pieces, function_word_pieces, of_words, one_group, random_groups
from metrics.token_iou import Level, TokenIoU

GroupedCaption = tuple[list[int], list[int]]  # the group of every token, the word of every token
BASELINES = ("one group", "random", "equal pieces", "function words")


class SpanEvaluation(Evaluation):
    """tIoU, precision, recall and F1, beside groupings that come from no model: all in one, at random, equal
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
        self.levels = levels
        self.pieces = pieces
        self.seed = seed

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], TokenIoU]:
        """All levels and the baselines in ``test``; the module at the first level in ``val``."""
        if stage == "val":
            return {(self.levels[0], "model"): TokenIoU(self.levels[0])}
        return {(level, method): TokenIoU(level) for level in self.levels for method in ("model", *BASELINES)}

    def rules(self) -> dict[str, Any]:
        """What a token is at each level, and how many groups the baselines make."""
        return {level: {"token": level, "groups of the baselines": self.pieces} for level in self.levels}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: SpanBatch, scores: Scores) -> None:
        """Adds a batch."""
        with trainer.precision_plugin.forward_context():
            by_model: list[GroupedCaption] = pl_module.group_tokens(
                [" ".join(words) for words in batch.words]
            )
        grouped = {"model": by_model}
        for _, method in scores:
            if method not in grouped:
                words_of_tokens = [word_of_token for _, word_of_token in by_model]
                grouped[method] = self._baseline(method, batch, words_of_tokens)
        for (_, method), score in scores.items():
            score.update(grouped[method], batch.spans)

    def _baseline(
        self, method: str, batch: SpanBatch, words_of_tokens: list[list[int]]
    ) -> list[GroupedCaption]:
        """The groups of a baseline over the model's own tokens."""
        grouped = []
        for key, words, word_of_token in zip(batch.keys, batch.words, words_of_tokens, strict=True):
            tokens = len(word_of_token)
            match method:
                case "one group":
                    groups = one_group(tokens)
                case "random":
                    # Seeded by the caption's name: the batch and process in which it comes do not matter.
                    rng = np.random.default_rng([self.seed, *key.encode()])
                    groups = random_groups(tokens, self.pieces, rng)
                case "equal pieces":
                    groups = equal_pieces(tokens, self.pieces)
                case _:
                    groups = of_words(function_word_pieces(words), word_of_token)
            grouped.append((groups, word_of_token))
        return grouped
