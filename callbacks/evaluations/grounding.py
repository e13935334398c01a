"""Judges any module that can `ground`, on every set of phrases with boxes, under every protocol that the
config names.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import Tensor

from callbacks.evaluations.base import Evaluation, Scores
from datamodules.batches import GroundingBatch
from lightning_modules.capabilities import CanGround
from metrics.baselines import centre_heatmaps, random_heatmaps
from metrics.grounding import GroundingScore
from metrics.protocols import Protocol, protocol


class GroundingEvaluation(Evaluation):
    """Pointing game, box accuracy and mean IoU, beside two baselines that know nothing: random places, and
    the centre.

    Args:
        protocols: names of presets of `metrics.protocols`; validation uses the first.
        protocols_of: protocols of single data sets, by the set's name, instead of ``protocols``.
        changes: fields of the protocols to set otherwise, e.g. ``{min_area: 0.05}``; the changed protocols
            are then called ``<name>*``.
    """

    capability: ClassVar[type] = CanGround
    batch_type: ClassVar[type] = GroundingBatch

    def __init__(
        self,
        protocols: list[str] = ["clean"],  # noqa: B006 (read only)
        protocols_of: dict[str, list[str]] | None = None,
        changes: dict[str, Any] | None = None,
    ) -> None:
        def resolve(names: list[str]) -> list[Protocol]:
            return [
                replace(protocol(name, **(changes or {})), name=f"{name}*" if changes else name)
                for name in names
            ]

        self.protocols = resolve(protocols)
        self.protocols_of = {dataset: resolve(names) for dataset, names in (protocols_of or {}).items()}

    def new_scores(self, dataset: str, source: Any, stage: str) -> dict[tuple[str, str], GroundingScore]:
        protocols = self.protocols_of.get(dataset, self.protocols)
        methods = ("model", "centre", "random") if stage == "test" else ("model",)
        return {
            (rules.name, method): GroundingScore(rules, source.published_boxes)
            for rules in (protocols if stage == "test" else protocols[:1])
            for method in methods
        }

    def rules(self) -> dict[str, Any]:
        return {
            rules.name: asdict(rules)
            for protocols in (self.protocols, *self.protocols_of.values())
            for rules in protocols
        }

    def update(self, trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, scores: Scores) -> None:
        maps: dict[str, Tensor] = {}
        for (_, method), score in scores.items():
            # Protocols with the same prompt share their maps, and an image is encoded once for all its
            # phrases.
            name = f"model {score.rules.prompt}" if method == "model" else method
            if name not in maps:
                maps[name] = heatmaps(trainer, pl_module, batch, method, score.rules.prompt)
            score.update(
                maps[name], batch.boxes, batch.image_of_query, batch.chain_of_query, batch.sizes, batch.keys
            )


def heatmaps(
    trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, method: str, prompt: str = ""
) -> Tensor:
    """(Q,h,w) heat maps of a batch: of the model, each phrase after the prompt, or of a baseline (``centre``,
    ``random``).
    """
    if method == "centre":
        return centre_heatmaps(len(batch))
    if method == "random":  # mentions of a chain share a place, or averaging them would draw it to the middle
        first = {
            chain: key
            for chain, key in reversed(list(zip(batch.chain_of_query.tolist(), batch.keys, strict=True)))
        }
        return random_heatmaps([first[chain] for chain in batch.chain_of_query.tolist()])
    with trainer.precision_plugin.forward_context():
        return pl_module.ground(
            batch.images, [f"{prompt}{phrase}" for phrase in batch.phrases], batch.image_of_query
        ).float()
