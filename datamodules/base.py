"""The datamodule that every data set shares: it samples, resizes, batches, counts what is unreadable, and
splits the work among processes.
"""

from __future__ import annotations

import os
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from datamodules.batches import EvaluationBatch, ImageTextBatch, PhraseBatch, normalise
from datamodules.chunkers import Chunker, RuleChunker
from datamodules.errors import DataError
from datamodules.handover import JudgedSet
from datamodules.kinds.base import Source
from datamodules.kinds.captions import (
    Augmentation,
    CaptionSource,
    CaptionView,
    TrainingView,
    collate_captions,
)
from datamodules.kinds.catalogue import kind_of, view_of
from datamodules.kinds.phrases import PhraseView, collate_phrases
from datamodules.skips import SkipLog
from datamodules.storage.phrase_cache import PhraseCache

Split = Literal["train", "val", "test"]


def spare_cores() -> int:
    """Worker processes by default: a core each, one left for training, four at most."""
    return max(0, min(4, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 2


def ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the main one says when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class GroundingDataModule(pl.LightningDataModule):
    """Base of all datamodules. A data set gives its sources; the model in training says what it wants to be
    fed (``train_batch``) and how images must look (``preprocessing``).

    Args:
        batch_size: training images a step and process.
        eval_batch_size: images (not queries) a step and process in validation and test; by default
            ``batch_size``.
        num_workers: processes that read and resize images; by default one for each spare core, four at most.
        augmentation: changes of training images.
        chunker: finds phrases and subjects in captions, for methods that learn from phrases.
        cache_dir: where phrases found by the chunker are kept, and indexes of data sets in folders that
            cannot be written.
        max_skipped: share of unreadable records above which a run stops.
        seed: of the order of samples and of everything drawn for a sample; by default that of the run
            (``seed_everything``).
    """

    name: str

    def __init__(
        self,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
        chunker: Chunker | None = None,
        cache_dir: Path = Path(".cache"),
        max_skipped: float = 0.01,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (eval_batch_size or 1) < 1:
            raise DataError("batch_size and eval_batch_size must be at least 1.")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers = spare_cores() if num_workers is None else num_workers
        self.augmentation, self.max_skipped, self.seed = augmentation, max_skipped, seed
        self.chunker = chunker or RuleChunker()
        self.cache_dir = Path(cache_dir)
        self.phrase_cache = PhraseCache(self.cache_dir / "phrases.sqlite", self.chunker)
        self._captions: CaptionSource | None = None
        self._judged: dict[str, dict[str, Source]] = {}
        self._skips: dict[str, SkipLog] = {}
        self._epoch: dict[
            str, int
        ] = {}  # what the order of the running epoch, or of the one to be resumed, depends on

    # What a data set implements.

    @abstractmethod
    def caption_source(self) -> CaptionSource | None:
        """The training split, or None if the data set has none. Raises `DatasetNotFoundError`."""

    @abstractmethod
    def evaluation_source(self, split: Split) -> Source | None:
        """A split to be judged on, or None if the data set has none. Raises `DatasetNotFoundError`."""

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """The sets that ``validate`` (val) and ``test`` (test) judge on, by name."""
        source = self.evaluation_source(split)
        return {} if source is None else {self.name: source}

    # What the trainer calls.

    @property
    def module(self) -> Any:
        """The LightningModule that this data is for."""
        assert self.trainer is not None, (
            "a datamodule learns from its trainer which model it feeds: use trainer.fit(model, datamodule)"
        )
        return self.trainer.lightning_module

    def prepare_data(self) -> None:
        """On one process of a node: finds the phrases of all captions once, if the model learns from phrases."""
        if (
            self.trainer is None
            or self.trainer.state.fn != "fit"
            or self.module.train_batch is not PhraseBatch
        ):
            return
        source = self._training_source()
        if len(source) and source.phrases(0) is None:
            self.phrase_cache.fill(
                caption for index in range(len(source)) for caption in source.captions(index)
            )

    def setup(self, stage: str) -> None:
        """Opens what ``stage`` needs and says how much there is."""
        if stage == "fit":
            source = self._training_source()
            rank_zero_info(f"train on {self.name}: {len(source):,} images")
            self._log_skips("train", source, source.broken)
        split: Split = "val" if stage in {"fit", "validate"} else "test"
        self._judged[split] = self.evaluation_sources(split)
        for name, judged in self._judged[split].items():
            queries = (
                f", {judged.number_of_queries:,} queries" if judged.number_of_queries is not None else ""
            )
            rank_zero_info(f"{split} on {name}: {len(judged):,} images{queries}")
            self._log_skips(name, judged, judged.broken)
        if stage != "fit" and not self._judged[split]:
            raise DataError(
                f"{self.name} has no {split} split to judge on; name a data set that has queries with boxes (see docs/datasets.md)."
            )

    def _training_source(self) -> CaptionSource:
        if self._captions is None:
            self._captions = self.caption_source()
        if self._captions is None:
            raise DataError(f"{self.name} has no captions to train on; it only serves validate and test.")
        return self._captions

    def train_dataloader(self) -> DataLoader:
        source, module, trainer = self._training_source(), self.module, self.trainer
        assert trainer is not None
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed
        common = (source, module.preprocessing, self.augmentation, seed)
        if module.train_batch is PhraseBatch:
            view: TrainingView = PhraseView(*common, lookup=self.phrase_cache.lookup)
        elif module.train_batch is ImageTextBatch:
            view = CaptionView(*common)
        else:
            raise DataError(
                f"{type(module).__name__} trains on {module.train_batch.__name__}, which {self.name} cannot give."
            )
        if len(source) < self.batch_size * trainer.world_size:
            raise DataError(
                f"{self.name} has {len(source)} training images, fewer than one batch ({self.batch_size} on each of {trainer.world_size} processes): "
                "lower --data.batch_size."
            )
        sampler = source.sampler(self.batch_size, seed, trainer.global_rank, trainer.world_size)
        # A resumed run has seen a part of its epoch already, or all of it. Workers fetch ahead before
        # Lightning says which epoch it is.
        begun, progress = (
            trainer.fit_loop.epoch_progress.current.ready,
            trainer.fit_loop.epoch_loop.batch_progress,
        )
        current: Any = progress.current
        sampler.epoch = begun if progress.is_last_batch else max(0, begun - 1)
        sampler.skip_batches = 0 if progress.is_last_batch else current.processed
        before, self._epoch = self._epoch, sampler.fingerprint
        if sampler.skip_batches and before not in ({}, self._epoch):
            was, now = (
                ", ".join(f"{name}: {number:,}" for name, number in epoch.items())
                for epoch in (before, self._epoch)
            )
            rank_zero_warn(
                f"the resumed epoch began with {was}, and goes on with {now}; some images come again in it, or not at all."
            )
        return self._loader(
            view,
            collate_phrases if module.train_batch is PhraseBatch else collate_captions,
            sampler,
            self.batch_size,
            drop_last=True,
        )

    def state_dict(self) -> dict[str, int]:
        """What the order of an epoch depends on; kept in checkpoints."""
        return self._epoch

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._epoch = state_dict

    def training_batches(self) -> int:
        """Batches of one epoch on each process."""
        assert self.trainer is not None
        return len(self._training_source()) // self.trainer.world_size // self.batch_size

    def val_dataloader(self) -> list[DataLoader]:
        return self._evaluation_loaders("val")

    def test_dataloader(self) -> list[DataLoader]:
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader]:
        return self._evaluation_loaders("test")

    def _evaluation_loaders(self, split: Split) -> list[DataLoader]:
        return [self._evaluation_loader(name, source) for name, source in self._judged[split].items()]

    def _evaluation_loader(self, name: str, source: Source) -> DataLoader:
        assert self.trainer is not None
        view, collate = view_of(source, self.module.preprocessing)
        sampler = None
        if self.trainer.world_size > 1:
            if len(view) < self.trainer.world_size:
                raise DataError(
                    f"{name} has {len(view)} images for {self.trainer.world_size} processes: judge it with fewer (--trainer.devices)."
                )
            # Lightning's default sampler repeats samples until they divide, so that N processes would count
            # some queries twice.
            sampler = UnrepeatedDistributedSampler(
                view, num_replicas=self.trainer.world_size, rank=self.trainer.global_rank, shuffle=False
            )
        return self._loader(view, collate, sampler, self.eval_batch_size)

    def _loader(
        self, view: Any, collate: Any, sampler: Any, batch_size: int, drop_last: bool = False
    ) -> DataLoader:
        return DataLoader(
            view,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=collate,
            drop_last=drop_last,
            num_workers=self.num_workers,
            worker_init_fn=ignore_interrupts,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.module.device.type == "cuda",
        )

    def judged_sources(self) -> dict[str, Source]:
        """The sets that the running evaluation judges on, in the order of its dataloaders."""
        assert self.trainer is not None
        return self._judged["test" if self.trainer.testing or self.trainer.predicting else "val"]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalises the uint8 images on the device, and takes note of skipped records."""
        if hasattr(batch, "images"):
            batch.images = normalise(batch.images, self.module.preprocessing)
        if isinstance(batch, EvaluationBatch):
            name, source = list(self.judged_sources().items())[dataloader_idx]
            self._log_skips(name, source, batch.skipped)
        else:
            self._log_skips("train", self._training_source(), batch.skipped)
        return batch

    def _log_skips(self, name: str, source: CaptionSource | Source, lines: Sequence[str]) -> None:
        if not lines:
            return
        assert self.trainer is not None
        path = Path(self.trainer.default_root_dir) / f"skipped-{name}-rank{self.trainer.global_rank}.tsv"
        queries = 0 if name == "train" else source.number_of_queries or 0
        self._skips.setdefault(
            name, SkipLog(path, len(source) + queries + len(source.broken), self.max_skipped)
        ).add(lines)

    def judged_sets(self) -> list[JudgedSet]:
        """The sets of the running stage, in the order of its dataloaders."""
        return [
            JudgedSet(name, kind_of(source).view.batch_type, source)
            for name, source in self.judged_sources().items()
        ]

    def number_of_skipped_records(self) -> int:
        """How many records this process had to leave out so far."""
        return sum(count for _, count, _ in self.skipped())

    def skipped(self) -> Iterator[tuple[str, int, Path]]:
        """For each set with unreadable records: its name, how many there were on this process, and the file
        that names them.
        """
        for name, log in self._skips.items():
            yield name, len(log.seen), log.path
