"""Train on one data set, judge on several."""

from __future__ import annotations

from typing import Any

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.training import TrainingSource


class CrossDataset(GroundingDataModule):
    """A training set, and named sets to validate and test on; results are logged as ``test/<name>/...``.

    Args:
        train: gives the training images and captions; its loader options (batch size, augmentation, chunker
            ...) hold for training.
        val, test: by name, each judged on its own ``val`` or ``test`` split.
        eval_batch_size, num_workers, max_skipped: as for `GroundingDataModule`; by default those of
            ``train``.
    """

    name = "cross"
    layout = None

    def __init__(
        self,
        train: GroundingDataModule | None = None,
        val: dict[str, GroundingDataModule] | None = None,
        test: dict[str, GroundingDataModule] | None = None,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        max_skipped: float | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "eval_batch_size": eval_batch_size,
            "num_workers": num_workers,
            "max_skipped": max_skipped,
        }
        options = {name: value for name, value in options.items() if value is not None}
        if train is not None:
            options = _options_of(train) | options
        super().__init__(**options)
        self.train = train
        self.val = val or {}
        self.test = test or {}
        if train is not None:
            self.name = train.name

    def training_source(self) -> TrainingSource | None:
        """That of ``train``."""
        return self.train.training_source() if self.train else None

    def evaluation_source(self, split: Split) -> Source | None:
        """Raises `DataError`: there are several, see `evaluation_sources`."""
        raise DataError("a CrossDataset has several sets to judge on; ask for evaluation_sources.")

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """The sets of all members. A member with several, such as testA and testB, names them itself."""
        judged: dict[str, Source] = {}
        members = self.val if split == "val" else self.test
        for name, member in members.items():
            sources = member.evaluation_sources(split)
            if not sources:
                raise DataError(f"{name}: {type(member).__name__} has no {split} split to judge on.")
            if len(sources) > 1:
                judged |= sources
            else:
                judged[name] = next(iter(sources.values()))
        return judged


def _options_of(datamodule: GroundingDataModule) -> dict[str, Any]:
    names = (
        "batch_size",
        "eval_batch_size",
        "num_workers",
        "augmentation",
        "chunker",
        "cache_dir",
        "max_skipped",
        "seed",
        "features",
    )
    return {name: getattr(datamodule, name) for name in names}
