"""Train on one data set, judge on several."""

from __future__ import annotations

from typing import Any

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.base import Source
from datamodules.kinds.captions import CaptionSource


class CrossDataset(GroundingDataModule):
    """A training set, and named sets to validate and test on; results are logged as ``test/<name>/...``.

    Args:
        train: gives the training images and captions; its loader options (batch size, augmentation, chunker
            ...) hold for training.
        val, test: by name, each judged on its own ``val`` or ``test`` split.
        kwargs: as for `GroundingDataModule`; those that concern training default to those of ``train``.
    """

    name = "cross"

    def __init__(
        self,
        train: GroundingDataModule | None = None,
        val: dict[str, GroundingDataModule] | None = None,
        test: dict[str, GroundingDataModule] | None = None,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        max_skipped: float | None = None,
    ) -> None:
        options: dict[str, Any] = {}
        if train is not None:
            options = {
                "batch_size": train.batch_size,
                "augmentation": train.augmentation,
                "chunker": train.chunker,
                "seed": train.seed,
            }
            options["cache_dir"] = train.cache_dir
            eval_batch_size = eval_batch_size or train.eval_batch_size
            num_workers = train.num_workers if num_workers is None else num_workers
        if max_skipped is None:
            max_skipped = 0.01 if train is None else train.max_skipped
        super().__init__(
            eval_batch_size=eval_batch_size, num_workers=num_workers, max_skipped=max_skipped, **options
        )
        self.train, self.val, self.test = train, val or {}, test or {}
        if train is not None:
            self.name = train.name

    def caption_source(self) -> CaptionSource | None:
        return self.train.caption_source() if self.train else None

    def evaluation_source(self, split: Split) -> Source | None:
        raise DataError("a CrossDataset has several sets to judge on; ask for evaluation_sources.")

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        found: dict[str, Source] = {}
        for name, member in (self.val if split == "val" else self.test).items():
            sources = member.evaluation_sources(split)
            if not sources:
                raise DataError(f"{name}: {type(member).__name__} has no {split} split to judge on.")
            # A member with several sets, such as testA and testB, names them itself.
            found |= sources if len(sources) > 1 else dict.fromkeys([name], next(iter(sources.values())))
        return found
