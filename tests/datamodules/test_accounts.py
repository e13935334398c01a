"""Records in the files = used + left out + skipped, for every data set: learnt from, judged, or predicted.

How many records there are, of each kind, is what the fakes wrote.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datamodules.accounts import NOT_JUDGED, NOT_REACHED, Account
from datamodules.base import TRAIN, GroundingDataModule
from datamodules.catalogue import DATASETS
from datamodules.kinds.catalogue import TRAINING_KINDS
from datamodules.sets.caption_vectors import CaptionVectors
from tests.datamodules.feeding import PLAIN, attach, batches
from tests.fakes import write_fake
from tests.fakes.judged import Judged


def datamodule_of(kind: Any, root: Path) -> tuple[GroundingDataModule, Any]:
    """A data set on its fake, and the fake."""
    fake = write_fake(kind, root / "set")
    datamodule = kind(**fake.arguments)
    datamodule.batch_size = 1
    datamodule.eval_batch_size = 2
    datamodule.num_workers = 0
    datamodule.max_skipped = 1.0
    datamodule.cache_dir = root / "cache"
    return datamodule, fake


def assert_balanced(account: Account) -> None:
    assert account.records == account.used + sum(account.left_out.values()) + account.skipped
    assert NOT_REACHED not in account.left_out


@pytest.mark.parametrize("kind", DATASETS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_every_record_is_judged_or_accounted_for(kind: Any, stage: str, tmp_path: Path) -> None:
    datamodule, fake = datamodule_of(kind, tmp_path)
    data = attach(datamodule, tmp_path, stage=stage)
    if not isinstance(fake, Judged) and not fake.queries.get("test"):
        pytest.skip("it is not judged on")
    data.setup(stage)
    for number, loader in enumerate(data.test_dataloader()):
        batches(data, loader, number)
    for ledger in data.ledgers():
        account = ledger.account([ledger.reading])
        assert_balanced(account)
        if isinstance(fake, Judged):
            written = fake.asked or len(fake.records)
            unreadable = len(fake.broken) + len(fake.skipped)
            useless = fake.useless
        else:
            written = len(fake.queries["test"][account.name])
            unreadable = len(fake.skipped.get(account.name, ()))
            useless = fake.useless.get(account.name, 0)
        assert account.used + account.left_out.get(NOT_JUDGED, 0) == written
        assert account.skipped == unreadable
        assert account.records == written + unreadable + useless


@pytest.mark.parametrize("kind", [*DATASETS, CaptionVectors], ids=lambda kind: kind.__name__)
def test_every_record_is_learnt_from_or_accounted_for(kind: Any, tmp_path: Path) -> None:
    datamodule, fake = datamodule_of(kind, tmp_path)
    if getattr(fake, "captions", None) is None:
        pytest.skip("it is not learnt from")
    source = datamodule.training_source()
    batch = next(kind.batch for kind in TRAINING_KINDS if isinstance(source, kind.source))
    # Vectors are images of one pixel.
    preprocessing = replace(PLAIN, image_size=1) if kind is CaptionVectors else PLAIN
    data = attach(datamodule, tmp_path, batch, stage="fit", preprocessing=preprocessing)
    data.setup("fit")
    batches(data, data.train_dataloader())
    [ledger] = data.ledgers()
    account = ledger.account([ledger.reading])
    assert_balanced(account)
    assert account.used == len(fake.captions)
    assert account.skipped == len(fake.skipped.get(TRAIN, ()))
    assert account.records == account.used + account.skipped + fake.useless.get(TRAIN, 0)
