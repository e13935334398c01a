"""Judges modules that can `describe` by what they find in images of which nothing is said (the WWbL task)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from callbacks.evaluations.base import Evaluation, Scores
from callbacks.heatmaps import model_heatmaps
from callbacks.soft_masks import images_without_padding
from datamodules.batches import GroundingBatch
from datamodules.handover import JudgedSet
from lightning_modules.capabilities import CanDescribe, CanGround, require
from lightning_modules.errors import ModelError
from metrics.decisions import Queries
from metrics.description import DescriptionScore, nearest_texts
from metrics.protocols import changed_protocol

BANK = Path(__file__).parents[2] / "weakground" / "weights" / "phrases.txt"


class DescriptionEvaluation(Evaluation):
    """Pointing game and box accuracy of what a module finds by itself, beside random phrases of the bank.

    A true phrase is answered by the text nearest to it among those that were found in its image, see
    `metrics.description`. The baseline ``random_phrases`` says as many texts of an image as the module, drawn
    at random from the bank, and the module shows where they are.

    Args:
        protocols: names of presets of `metrics.protocols`, each called ``described_<name>`` in results;
            validation uses the first. Their prompt is put before true phrases only, as in the public code.
        bank: file of the phrases that images are described with, a phrase a line; None for common phrases of
            captions.
        regions: the parts of an image that are described, see `lightning_modules.capabilities.CanDescribe`.

    Raises:
        ModelError: the bank is missing or empty.
    """

    capability: ClassVar[type] = CanDescribe
    batch_type: ClassVar[type] = GroundingBatch

    def __init__(
        self,
        protocols: tuple[str, ...] = ("wwbl",),
        bank: Path | None = None,
        regions: Literal["grid", "search"] = "grid",
    ) -> None:
        self.protocols = [changed_protocol(name, None) for name in protocols]
        self.bank = read_bank(Path(bank) if bank else BANK)
        self.regions = regions

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Checks that the module can ground, too. Raises `ModelError` if it cannot."""
        super().setup(trainer, pl_module, stage)
        require(pl_module, CanGround, type(self).__name__)

    def new_scores(self, judged: JudgedSet, stage: str) -> dict[tuple[str, str], DescriptionScore]:
        """All protocols and the baseline in ``test``; the module under the first protocol in ``val``."""
        published = judged.source.published_boxes
        protocols = self.protocols if stage == "test" else self.protocols[:1]
        methods = ("model", "random_phrases") if stage == "test" else ("model",)
        return {
            (f"described_{rules.name}", method): DescriptionScore(rules, published)
            for rules in protocols
            for method in methods
        }

    def rules(self) -> dict[str, Any]:
        """The fields of each protocol, and how images are described."""
        described = {"regions": self.regions, "bank": len(self.bank)}
        return {f"described_{rules.name}": asdict(rules) | described for rules in self.protocols}

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        """Adds a batch."""
        images = images_without_padding(batch)
        with trainer.precision_plugin.forward_context():
            texts_of_image = pl_module.describe(images, self.bank, self.regions)
        for method in dict.fromkeys(method for _, method in scores):
            texts = texts_of_image
            if method == "random_phrases":
                texts = [
                    self.random_phrases(key, len(own_texts))
                    for key, own_texts in zip(batch.image_keys, texts_of_image, strict=True)
                ]
            described = texts_on_images(batch, texts)
            maps = model_heatmaps(trainer, pl_module, described).cpu()
            for (_, scored), score in scores.items():
                if scored == method:
                    answers = self.answers(pl_module, batch, described, score)
                    queries = Queries(batch.sizes, batch.image_of_query, batch.chain_of_query, batch.keys)
                    score.update(maps, answers, queries, batch.boxes)

    def answers(
        self, pl_module: Any, batch: GroundingBatch, described: GroundingBatch, score: DescriptionScore
    ) -> Tensor:
        """(Q,) long on the CPU, which of the texts that were found answers each query; -1 for none."""
        asked = [f"{score.rules.prompt}{phrase}" for phrase in batch.phrases]
        groups = batch.chain_of_query.cpu()
        if score.rules.query_unit == "phrase":
            groups = torch.arange(len(batch))
        return nearest_texts(
            pl_module.encode_texts(asked).float().cpu(),
            pl_module.encode_texts(described.phrases).float().cpu(),
            batch.image_of_query.cpu(),
            described.image_of_query.cpu(),
            groups,
        )

    def random_phrases(self, key: str, count: int) -> list[str]:
        """As many phrases of the bank, drawn at random, always the same for an image."""
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        places = rng.choice(len(self.bank), min(count, len(self.bank)), replace=False)
        return [self.bank[place] for place in places.tolist()]


def read_bank(path: Path) -> list[str]:
    """The phrases of a bank, each once.

    Raises:
        ModelError: it is missing or empty.
    """
    if not path.is_file():
        raise ModelError(f"there is no bank of phrases at {path.absolute()}; write one, a phrase a line.")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    bank = list(dict.fromkeys(line for line in lines if line))
    if not bank:
        raise ModelError(f"the bank of phrases {path} is empty; write phrases into it, one a line.")
    return bank


def texts_on_images(batch: GroundingBatch, texts_of_image: Sequence[Sequence[str]]) -> GroundingBatch:
    """The images of a batch with other texts: those of each image."""
    texts = list(chain.from_iterable(texts_of_image))
    counts = torch.tensor([len(texts) for texts in texts_of_image])
    image_of_text = torch.arange(len(counts)).repeat_interleave(counts)
    return replace(
        batch,
        phrases=texts,
        image_of_query=image_of_text.to(batch.image_of_query.device),
        chain_of_query=torch.arange(len(texts)),
        boxes=[],
        keys=texts,
        masks=None,
    )
