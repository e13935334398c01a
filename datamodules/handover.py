"""What a model and its data tell each other, once, before anything runs.

A module says what it `Needs`; a datamodule is a `Supply`. The command line brings the two together
(`commands.connect`), so that neither has to ask the trainer for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from datamodules.accounts import Ledger
from datamodules.batches import Batch, Preprocessing


@dataclass(frozen=True)
class FeatureSpec:
    """What features are computed by.

    Args:
        encoder: fingerprint of the encoder's weights and of how images are prepared for it.
        numbers: F, how many numbers there are of an image.
    """

    encoder: str
    numbers: int


@dataclass(frozen=True)
class Needs:
    """What a module wants to be fed.

    Args:
        batch: the kind of batch that its training step takes.
        preprocessing: how its images must look.
        module: its name, for messages.
        features: what it can learn from in place of images; None if it needs the images themselves.
    """

    batch: type[Batch]
    preprocessing: Preprocessing
    module: str
    features: FeatureSpec | None = None


@dataclass(frozen=True)
class JudgedSet:
    """A data set that the running evaluation judges on.

    Args:
        name: as results are called.
        batch: the kind of batch that it gives.
        source: the data set itself.
    """

    name: str
    batch: type[Batch]
    source: Any


class Supply(Protocol):
    """What a datamodule tells modules and evaluations."""

    def training_batches(self) -> int:
        """Batches of one epoch on each process."""
        ...

    def judged_sets(self) -> list[JudgedSet]:
        """The sets of the running stage, in the order of its dataloaders."""
        ...

    def ledgers(self) -> list[Ledger]:
        """What this process knows of the records of the running stage's sets."""
        ...
