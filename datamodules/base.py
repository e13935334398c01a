"""The datamodule that every data set shares.

It samples, resizes, batches, counts what is unreadable, and splits the work among processes.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from datamodules.accounts import Ledger
from datamodules.batches import ImageBatch, Preprocessing, prepare_images
from datamodules.chunkers import Chunker, RuleChunker
from datamodules.errors import DataError
from datamodules.handover import JudgedSet, Needs
from datamodules.kinds.base import Kind, Source
from datamodules.kinds.catalogue import kind_of, made_of_phrases, training_kind
from datamodules.kinds.training import Augmentation, TrainingSource, UnchangedImages
from datamodules.samplers import EpochSampler
from datamodules.storage.features import FeatureFolder, Features, names_digest
from datamodules.storage.layout import Layout
from datamodules.storage.phrase_cache import PhraseCache
from datamodules.workers import follow_the_main_process

Split = Literal["train", "val", "test"]
TRAIN = "train"  # what the training set is called in files and accounts, whatever its name


def spare_cores() -> int:
    """Worker processes by default: a core each, one left for training, four at most."""
    if not hasattr(os, "sched_getaffinity"):  # not on Linux
        return 2
    return max(0, min(4, len(os.sched_getaffinity(0)) - 1))


class GroundingDataModule(pl.LightningDataModule):
    """Base of all datamodules.

    A data set gives its sources. What the model needs (kind of batch, look of the images) is handed over once
    by `serve`; of the trainer only plain facts are asked: stage, process, device, folder and progress.

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
        features: folder of stored features of the training images, made by `python cli.py features`: a model
            whose encoder is frozen learns from them, and no image is read. They are of unchanged images, so
            there is no augmentation.
        seed: of the order of samples and of everything drawn for a sample; by default that of the run
            (``seed_everything``).

    Attributes:
        name: as results are called.
        layout: what its publisher ships, and how to obtain it; None if it has no publisher.
    """

    name: str
    layout: ClassVar[Layout | None]

    def __init__(
        self,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        augmentation: Augmentation = Augmentation(),
        chunker: Chunker | None = None,
        cache_dir: Path = Path(".cache"),
        max_skipped: float = 0.01,
        seed: int | None = None,
        features: Path | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (eval_batch_size or 1) < 1:
            raise DataError("batch_size and eval_batch_size must be at least 1.")
        if (num_workers or 0) < 0:
            raise DataError(f"num_workers must not be negative, as {num_workers} is.")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = spare_cores() if num_workers is None else num_workers
        self.augmentation = augmentation
        self.max_skipped = max_skipped
        self.seed = seed
        self.features = features
        self.chunker = chunker or RuleChunker()
        self.cache_dir = Path(cache_dir)
        self.phrase_cache = PhraseCache(self.cache_dir / "phrases.sqlite", self.chunker)
        self._needs: Needs | None = None
        self._training: TrainingSource | None = None
        self._judged: dict[str, dict[str, Source]] = {}
        self._ledgers: dict[str, Ledger] = {}  # by set; of the training set under ``train``
        # What the order of the running epoch, or of the one to be resumed, depends on.
        self._fingerprint: dict[str, int] = {}

    # What a data set implements.

    def training_source(self) -> TrainingSource | None:
        """The training split, of any kind; by default None, for a data set that has nothing to learn from.

        Raises:
            DatasetNotFoundError: a file or folder is missing.
        """
        return None

    @abstractmethod
    def evaluation_source(self, split: Split) -> Source | None:
        """A split to be judged on, of any kind, or None if the data set has none.

        Raises:
            DatasetNotFoundError: a file or folder is missing.
        """

    def evaluation_sources(self, split: Split) -> dict[str, Source]:
        """The sets that ``validate`` (val) and ``test`` (test) judge on, by name."""
        source = self.evaluation_source(split)
        return {} if source is None else {self.name: source}

    def preprocessing_of(self, source: Source) -> Preprocessing:
        """How the images of a source are resized: as the model says."""
        return self.needs.preprocessing

    # What modules and evaluations are told (`datamodules.handover.Supply`).

    def serve(self, needs: Needs) -> None:
        """Takes what the model needs; called once, before the trainer runs."""
        self._needs = needs

    @property
    def needs(self) -> Needs:
        """What the model needs. Raises `DataError` if that was never handed over."""
        if self._needs is None:
            raise DataError(
                f"{type(self).__name__} was not told what its model needs: call commands.connect.connect("
                "module, datamodule, callbacks) before the trainer."
            )
        return self._needs

    def training_batches(self) -> int:
        """Batches of one epoch on each process."""
        return len(self._opened_training_source()) // self._trainer.world_size // self.batch_size

    def judged_sets(self) -> list[JudgedSet]:
        """The sets of the running stage, in the order of its dataloaders."""
        split = "test" if self._trainer.testing or self._trainer.predicting else "val"
        sources = self._judged[split].items()
        return [JudgedSet(name, kind_of(source).batch, source) for name, source in sources]

    def ledgers(self) -> list[Ledger]:
        """What this process knows of the records of the running stage's sets."""
        if self._trainer.state.fn == "fit":
            return [self._ledgers[TRAIN]]
        return [self._ledgers[judged.name] for judged in self.judged_sets()]

    # What the trainer calls.

    def prepare_data(self) -> None:
        """On one process of a node: finds the phrases of all captions once, if the model learns from them."""
        if self._trainer.state.fn != "fit" or not made_of_phrases(self.needs.batch):
            return
        source: Any = self._opened_training_source()
        if len(source) and source.phrases(0) is None:
            captions = (source.captions(index) for index in range(len(source)))
            self.phrase_cache.fill(chain.from_iterable(captions))

    def setup(self, stage: str) -> None:
        """Opens what ``stage`` needs and says how much there is.

        Raises:
            DataError: the data set has no split for the stage, or is not where it should be.
        """
        if stage == "fit":
            source = self._opened_training_source()
            rank_zero_info(f"train on {self.name}: {len(source):,} images")
            self._open_ledger(TRAIN, self.name, source)
        split: Split = "val" if stage in {"fit", "validate"} else "test"
        self._judged[split] = self.evaluation_sources(split)
        for name, judged in self._judged[split].items():
            size = f"{len(judged):,} images"
            if judged.number_of_queries is not None:
                size += f", {judged.number_of_queries:,} queries"
            rank_zero_info(f"{split} on {name}: {size}")
            self._open_ledger(name, name, judged)
            if not judged.number_of_samples:
                raise DataError(f"{name} has nothing to judge by: {self._ledgers[name].account([])}.")
        if stage != "fit" and not self._judged[split]:
            needed = "phrases (--data.test_queries)" if stage == "predict" else "queries with boxes"
            raise DataError(
                f"{self.name} has no {split} split to judge on; name a data set that has {needed}, see "
                "docs/datasets.md."
            )

    def train_dataloader(self) -> DataLoader:
        """Training batches of this process. Raises `DataError` if there are too few images for one."""
        source = self._opened_training_source()
        kind = self._training_kind()
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed
        preprocessing = self.preprocessing_of(source)
        features = self._stored_features()
        view = kind.view(source, preprocessing, self.augmentation, seed, self.phrase_cache.lookup, features)
        world_size = self._trainer.world_size
        if len(source) < self.batch_size * world_size:
            raise DataError(
                f"{self.name} has {len(source)} training images, fewer than one batch ({self.batch_size} on "
                f"each of {world_size} processes): lower --data.batch_size."
            )
        sampler = source.sampler(self.batch_size, seed, self._trainer.global_rank, world_size)
        self._resume(sampler)
        return self._loader(view, kind, sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> list[DataLoader]:
        """One for each set of the validation split."""
        return self._evaluation_loaders("val")

    def test_dataloader(self) -> list[DataLoader]:
        """One for each set of the test split."""
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader]:
        """As for `test_dataloader`."""
        return self._evaluation_loaders("test")

    def state_dict(self) -> dict[str, int]:
        """What the order of an epoch depends on; kept in checkpoints."""
        return self._fingerprint

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Takes it from a checkpoint that is about to be resumed."""
        self._fingerprint = state_dict

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalises the images on the device, and takes note of skipped records."""
        training = self._trainer.training
        if isinstance(batch, ImageBatch):
            preprocessing = self.needs.preprocessing
            window = preprocessing.training if training else None
            prepare_images(batch, preprocessing, window.crop if window else 1)
        if training:
            self._ledgers[TRAIN].read(0, 0, batch.skipped)
        else:
            not_judged = 0 if self._trainer.predicting else batch.not_judged
            ledger = self._ledgers[self.judged_sets()[dataloader_idx].name]
            ledger.read(len(batch) - not_judged, not_judged, batch.skipped)
        return batch

    # Its own.

    @property
    def _trainer(self) -> Any:
        assert self.trainer is not None, "a trainer calls this"
        return self.trainer

    def _opened_training_source(self) -> TrainingSource:
        if self._training is None:
            self._training = self.training_source()
        if self._training is None:
            raise DataError(f"{self.name} has no captions to train on; it only serves validate and test.")
        return self._training

    def feature_folder(self) -> FeatureFolder:
        """Where the features of the training images are, or are to be.

        Raises:
            DataError: no folder is named, or the model cannot learn from features.
        """
        source = self._opened_training_source()
        spec = self.needs.features
        if self.features is None:
            raise DataError("no folder is named for the features: set --data.features FOLDER.")
        if spec is None:
            raise DataError(
                f"{self.needs.module} learns from images and not from features: leave out --data.features."
            )
        if self.augmentation != Augmentation():
            raise DataError(
                "stored features are of unchanged images: leave out --data.augmentation or --data.features."
            )
        names = names_digest(source.key(index) for index in range(len(source)))
        return FeatureFolder(Path(self.features), spec, len(source), names)

    def unchanged_images(self, indices: Sequence[int]) -> UnchangedImages:
        """Training images by their numbers, to compute features of."""
        source: Any = self._opened_training_source()
        return UnchangedImages(source, self.preprocessing_of(source), indices)

    def _stored_features(self) -> Features | None:
        return None if self.features is None else Features(self.feature_folder())

    def _training_kind(self) -> Kind:
        kind = training_kind(self._opened_training_source(), self.needs.batch)
        if kind is None:
            batch = self.needs.batch.__name__
            raise DataError(f"{self.needs.module} trains on {batch}, which {self.name} cannot give.")
        return kind

    def _resume(self, sampler: EpochSampler) -> None:
        """Begins where the run stopped: a resumed run has seen a part of its epoch already, or all of it.

        Workers fetch ahead before Lightning says which epoch it is.
        """
        trainer = self._trainer
        begun = trainer.fit_loop.epoch_progress.current.ready
        progress = trainer.fit_loop.epoch_loop.batch_progress
        current: Any = progress.current
        sampler.epoch = begun if progress.is_last_batch else max(0, begun - 1)
        sampler.skip_batches = 0 if progress.is_last_batch else current.processed
        before = self._fingerprint
        self._fingerprint = sampler.fingerprint
        if sampler.skip_batches and before not in ({}, self._fingerprint):
            rank_zero_warn(
                f"the resumed epoch began with {_listed(before)}, and goes on with "
                f"{_listed(self._fingerprint)}; some images come again in it, or not at all."
            )

    def _evaluation_loaders(self, split: Split) -> list[DataLoader]:
        return [self._evaluation_loader(name, source) for name, source in self._judged[split].items()]

    def _evaluation_loader(self, name: str, source: Source) -> DataLoader:
        kind = kind_of(source)
        view = kind.view(source, self.preprocessing_of(source))
        world_size = self._trainer.world_size
        if world_size == 1:
            return self._loader(view, kind, None, self.eval_batch_size)
        if len(view) < world_size:
            raise DataError(
                f"{name} has {len(view)} images for {world_size} processes: judge it with fewer "
                "(--trainer.devices)."
            )
        # Lightning's default sampler repeats samples until they divide, so that N processes would count some
        # queries twice.
        sampler = UnrepeatedDistributedSampler(
            view, num_replicas=world_size, rank=self._trainer.global_rank, shuffle=False
        )
        return self._loader(view, kind, sampler, self.eval_batch_size)

    def _loader(
        self, view: Any, kind: Kind, sampler: Any, batch_size: int, drop_last: bool = False
    ) -> DataLoader:
        return DataLoader(
            view,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=kind.collate,
            drop_last=drop_last,
            num_workers=self.num_workers,
            worker_init_fn=follow_the_main_process,
            persistent_workers=self.num_workers > 0,
            pin_memory=self._trainer.strategy.root_device.type == "cuda",
        )

    def _open_ledger(self, key: str, name: str, source: Source) -> None:
        file = f"skipped-{key}-rank{self._trainer.global_rank}.tsv"
        path = Path(self._trainer.default_root_dir) / file
        self._ledgers[key] = Ledger(name, source, key == TRAIN, path, self.max_skipped)


def _listed(fingerprint: dict[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in fingerprint.items())
