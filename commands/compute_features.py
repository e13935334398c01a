"""Computes what a frozen encoder sees in the training images, part by part, into a folder."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from commands.trainer import WeakgroundCLI
from datamodules.base import GroundingDataModule
from datamodules.batches import normalise
from datamodules.storage.features import FeatureFolder
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError


class FeatureCLI(WeakgroundCLI):
    """Builds model and data as `fit` does, and computes features in place of training.

    Args:
        part: (number, parts), see `compute`.
        arguments, options: of `WeakgroundCLI`.
    """

    def __init__(self, part: tuple[int, int], *arguments: Any, **options: Any) -> None:
        self.part = part
        super().__init__(*arguments, **options)

    def _choose_checkpoint(self, config: Any) -> str:
        """None: frozen parts come with their weights."""
        return ""

    def _run_subcommand(self, subcommand: str) -> None:
        device = self.trainer.strategy.root_device
        compute(self.model, self.datamodule, self.part, device)  # type: ignore[arg-type]


def compute(
    module: WeakgroundModule,
    datamodule: GroundingDataModule,
    part: tuple[int, int] = (0, 1),
    device: torch.device | str = "cpu",
) -> FeatureFolder:
    """Computes the features of all training images that are not stored yet.

    Args:
        module: can ``compute_features``.
        datamodule: knows the images, and the folder.
        part: (number, parts): every so many-th chunk, beginning with that number.
        device: where they are computed.

    Raises:
        ModelError: the module has no frozen encoder to compute features by.
    """
    if module.needs.features is None:
        raise ModelError(f"{type(module).__name__} has no frozen encoder whose features could be stored.")
    folder = datamodule.feature_folder()
    folder.claim()
    number, parts = part
    missing = [chunk for chunk in folder.chunks[number::parts] if not folder.is_complete(chunk)]
    module.eval().to(device)
    images = sum(len(folder.rows_of(chunk)) for chunk in missing)
    with tqdm(total=images, unit=" images", disable=not sys.stdout.isatty()) as bar:
        for chunk in missing:
            rows, skips = _compute_chunk(module, datamodule, folder, chunk, device)
            folder.write(chunk, rows, skips)
            bar.update(len(rows))
    return folder


def _compute_chunk(
    module: Any,
    datamodule: GroundingDataModule,
    folder: FeatureFolder,
    chunk: int,
    device: torch.device | str,
) -> tuple[np.ndarray, dict[int, str]]:
    """The rows of a chunk, and why some of them are empty."""
    indices = folder.rows_of(chunk)
    rows = np.zeros((len(indices), folder.spec.numbers), np.float16)
    skips: dict[int, str] = {}
    view = datamodule.unchanged_images(indices)
    loader = DataLoader(view, batch_size=32, num_workers=datamodule.num_workers, collate_fn=_separate)
    done = 0
    for items in loader:
        read = [position for position, item in enumerate(items) if not isinstance(item, str)]
        skips.update({indices[done + p]: item for p, item in enumerate(items) if isinstance(item, str)})
        if read:
            images = torch.stack([items[position] for position in read]).to(device)
            features = module.compute_features(normalise(images, module.preprocessing))
            rows[[done + position for position in read]] = features.cpu().numpy()
        done += len(items)
    return rows, skips


def _separate(items: list) -> list:
    return items
