"""Where evaluations, pictures and predictions get the heat maps of a batch from."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from datamodules.batches import GroundingBatch
from metrics.baselines import centre_heatmaps, random_heatmaps
from metrics.padding import crop_to_image

BASELINES = ("centre", "random")


def model_heatmaps(trainer: pl.Trainer, pl_module: Any, batch: GroundingBatch, prompt: str = "") -> Tensor:
    """The heat maps of a module.

    Always of the whole batch, though a picture may need one phrase of it: the other texts of a batch may
    change the last digits of a map, and so the decision.

    Args:
        trainer: for its precision.
        pl_module: a module that can ``ground``.
        batch: Q queries.
        prompt: put before each phrase.

    Returns:
        (Q,h,w) float32 in [0, 1], over the original images.
    """
    with trainer.precision_plugin.forward_context():
        return module_heatmaps(pl_module, batch, prompt)


def module_heatmaps(pl_module: Any, batch: GroundingBatch, prompt: str = "") -> Tensor:
    """As `model_heatmaps`, without a trainer."""
    phrases = [f"{prompt}{phrase}" for phrase in batch.phrases]
    maps = pl_module.ground(batch.images, phrases, batch.image_of_query).float()
    height, width = batch.images.shape[-2:]
    extents = None if batch.extents is None else batch.extents[batch.image_of_query]
    return crop_to_image(maps, extents, (height, width))


def baseline_heatmaps(method: str, batch: GroundingBatch) -> Tensor:
    """The heat maps of a baseline that looks at nothing.

    Args:
        method: one of `BASELINES`.
        batch: Q queries.

    Returns:
        (Q,h,w) float32 in [0, 1].
    """
    if method == "centre":
        return centre_heatmaps(len(batch))
    # Mentions of a chain share a place: averaging several would draw it to the middle.
    key_of_chain: dict[int, str] = {}
    chains = batch.chain_of_query.tolist()
    for chain, key in zip(chains, batch.keys, strict=True):
        key_of_chain.setdefault(chain, key)
    return random_heatmaps([key_of_chain[chain] for chain in chains])
