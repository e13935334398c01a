"""SVO-Probes (Hendricks and Nematzadeh 2021, arXiv:2106.09141): a sentence, an image that it describes, and
one in which the subject, the verb or the object is another.

Layout below ``root``: ``svo_probes.csv`` as its publishers ship it (36,841 rows), and ``images/<image
id>.<any ending>``, fetched from the addresses in it. Many of these are dead; the papers were left with about
30,000 rows.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, require_paths
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.storage.images import read_image

REMEDY = (
    "Set --data.root; svo_probes.csv is had from storage.googleapis.com/dm-mmt-models/svo_probes.csv, the images from its columns pos_url and neg_url, "
    "each saved under its pos_image_id or neg_image_id."
)
FLAGS = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}


class Probe(NamedTuple):
    """A row: its key, the sentence, the ids of both images, and what differs."""

    key: str
    sentence: str
    positive: str
    negative: str
    group: str


def parse_probe(row: dict[str, str | None], number: int) -> Probe | None:
    """A row of the table; None if not exactly one of subject, verb and object differs: the publishers' own
    evaluation leaves such rows out.

    Raises:
        DataError: the row is cut off or a field has no value that is known.
    """
    fields = {
        name: (row.get(name) or "").strip() for name in ("sentence", "pos_image_id", "neg_image_id", *FLAGS)
    }
    if empty := [name for name, value in fields.items() if not value]:
        raise DataError(f"the row has no {', '.join(empty)}")
    if unknown := [name for name in FLAGS if fields[name].lower() not in {"true", "false"}]:
        raise DataError(f"{unknown[0]} is {fields[unknown[0]]!r} instead of True or False")
    groups = [group for name, group in FLAGS.items() if fields[name].lower() == "true"]
    key = (row.get("") or row.get("index") or str(number)).strip()
    return (
        Probe(key, fields["sentence"], fields["pos_image_id"], fields["neg_image_id"], groups[0])
        if len(groups) == 1
        else None
    )


class SVOProbesSource(PairRankSource):
    """The rows of which both images are there. How many that are is said at opening.

    Args:
        root: folder of the layout above.

    Attributes:
        published: rows of the table in which exactly one thing differs, whether their images are there or
            not.

    Raises:
        DatasetNotFoundError: the table or the folder of images is missing.
        DataError: it is no such table, or no row has both images.
    """

    def __init__(self, root: Path) -> None:
        require_paths("SVO-Probes", root, ["svo_probes.csv", "images"], "svo_probes.csv and images/", REMEDY)
        path, probes = root / "svo_probes.csv", []
        self.files = {file.stem: file for file in sorted((root / "images").iterdir()) if file.is_file()}
        broken = []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                if lacking := {"sentence", "pos_image_id", "neg_image_id", *FLAGS} - set(
                    reader.fieldnames or ()
                ):
                    raise DataError(f"{path} has no column {', '.join(sorted(lacking))}.")
                for number, row in enumerate(reader):
                    try:
                        probes.append(parse_probe(row, number))
                    except DataError as error:
                        broken.append(f"row {number}\t{error}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: not readable as a table ({type(error).__name__}: {error}).") from error
        kept = [probe for probe in probes if probe]
        self.published, self.broken = len(kept), broken
        self.probes = [
            probe for probe in kept if probe.positive in self.files and probe.negative in self.files
        ]
        if not self.probes:
            raise DataError(
                f"{root / 'images'} holds both images of none of {self.published:,} rows; it must hold <image id>.jpg. {REMEDY}"
            )
        rank_zero_info(
            f"SVO-Probes: {len(self.probes):,} of {self.published:,} rows have both of their images"
        )

    def __len__(self) -> int:
        return len(self.probes)

    def key(self, index: int) -> str:
        return self.probes[index].key

    def pair(self, index: int) -> RankedPair:
        probe = self.probes[index]
        return RankedPair((probe.positive, probe.sentence), (probe.negative, probe.sentence), probe.group)

    def image_named(self, name: str) -> np.ndarray:
        return read_image(self.files[name])


class SVOProbes(GroundingDataModule):
    """SVO-Probes. It has one split, on which both ``validate`` and ``test`` judge.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "svo_probes"

    def __init__(self, root: Path = Path("data/svo_probes"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> None:
        return None

    def evaluation_source(self, split: Split) -> SVOProbesSource:
        return SVOProbesSource(self.root)
