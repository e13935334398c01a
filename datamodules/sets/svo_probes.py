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
from datamodules.errors import DataError
from datamodules.kinds.pairs import PairRankSource, RankedPair
from datamodules.storage.images import read_image
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy

DIFFERENCES = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}  # by column
COLUMNS = ("sentence", "pos_image_id", "neg_image_id", *DIFFERENCES)

LAYOUT = Layout(
    name="SVOProbes",
    title="SVO-Probes",
    page="https://github.com/google-deepmind/svo_probes",
    licence="unknown for the list; the photographs belong to their authors",
    size="14 MB and the photographs",
    root="data/svo_probes",
    parts=(
        Part(
            "svo_probes.csv",
            "36,841 rows",
            1,
            url="https://storage.googleapis.com/dm-mmt-models/svo_probes.csv",
        ),
        Part(
            "images/*",
            "photographs",
            by_hand="fetch the addresses in the columns pos_url and neg_url of "
            "https://storage.googleapis.com/dm-mmt-models/svo_probes.csv as images/<pos_image_id>.jpg and "
            "images/<neg_image_id>.jpg",
        ),
    ),
    judged_on="a sentence between two images",
    counts=(SplitCounts("test", 36_841, unit="rows", note="as listed; papers were left with about 30,000"),),
    dead_links="Many of the photographs' addresses are dead.",
)


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
    fields = {name: (row.get(name) or "").strip() for name in COLUMNS}
    empty = [name for name, value in fields.items() if not value]
    if empty:
        raise DataError(f"the row has no {', '.join(empty)}")
    groups = []
    for name, group in DIFFERENCES.items():
        value = fields[name].lower()
        if value not in {"true", "false"}:
            raise DataError(f"{name} is {fields[name]!r} instead of True or False")
        if value == "true":
            groups.append(group)
    if len(groups) != 1:
        return None
    key = (row.get("") or row.get("index") or str(number)).strip()
    return Probe(key, fields["sentence"], fields["pos_image_id"], fields["neg_image_id"], groups[0])


def read_probes(path: Path) -> tuple[list[Probe], list[str], int]:
    """The rows in which exactly one thing differs, a line for each that cannot be read, and the number of the
    others.

    Raises:
        DataError: the file is no such table.
    """
    probes: list[Probe] = []
    broken: list[str] = []
    others = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing_columns = set(COLUMNS) - set(reader.fieldnames or ())
            if missing_columns:
                raise DataError(f"{path} has no column {', '.join(sorted(missing_columns))}.")
            for number, row in enumerate(reader):
                try:
                    probe = parse_probe(row, number)
                except DataError as error:
                    broken.append(f"row {number}\t{error}")
                    continue
                if probe is None:
                    others += 1
                else:
                    probes.append(probe)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as a table ({type(error).__name__}: {error}).") from error
    return probes, broken, others


class SVOProbesSource(PairRankSource):
    """The rows of which both images are there. Opening it says how many these are.

    Args:
        root: folder of the data set, laid out as above.

    Attributes:
        published: rows of the table in which exactly one thing differs, whether their images are there or
            not.

    Raises:
        DatasetNotFoundError: the table or the folder of images is missing.
        DataError: it is no such table, or no row has both images.
    """

    def __init__(self, root: Path) -> None:
        copy = LocalCopy(LAYOUT, root)
        table = root / "svo_probes.csv"
        images = root / "images"
        copy.require(table, images)
        self.files = {file.stem: file for file in sorted(images.iterdir()) if file.is_file()}
        listed, self.broken, others = read_probes(table)
        self.published = len(listed)
        self.probes = [
            probe for probe in listed if probe.positive in self.files and probe.negative in self.files
        ]
        self.left_out = {
            "not exactly one of subject, verb and object differs": others,
            "an image is not there": len(listed) - len(self.probes),
        }
        if not self.probes:
            raise DataError(
                f"{images} holds both images of none of {self.published:,} rows; it must hold "
                f"<image id>.jpg. {copy.remedy()}"
            )
        rank_zero_info(
            f"SVO-Probes: {len(self.probes):,} of {self.published:,} rows have both of their images"
        )

    def __len__(self) -> int:
        return len(self.probes)

    def key(self, index: int) -> str:
        """The row's number, as published."""
        return self.probes[index].key

    def pair(self, index: int) -> RankedPair:
        """The sentence with the image that it describes, and with the other one."""
        probe = self.probes[index]
        return RankedPair((probe.positive, probe.sentence), (probe.negative, probe.sentence), probe.group)

    def image_named(self, name: str) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.files[name])


class SVOProbes(GroundingDataModule):
    """SVO-Probes. It has one split, on which both ``validate`` and ``test`` judge.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "svo_probes"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/svo_probes"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def evaluation_source(self, split: Split) -> SVOProbesSource:
        """All rows, for every split."""
        return SVOProbesSource(self.root)
