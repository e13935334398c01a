"""Conceptual Captions: GCC3M (Sharma et al. 2018, 3,318,333 training pairs) and CC12M (Changpinyo et al.
2021, arXiv:2102.08981, 12,423,374 pairs).

Google publishes captions with addresses of images, of which many are dead by now; a copy is what was alive
when it was made. Three layouts are read, the first that is found below ``root`` or ``root/train``:

- shards of img2dataset: ``00000.tar``, ``00001.tar``, ... each with its ``00000_stats.json``, which says how
  many records it should hold;
- shards of the pixparse mirrors: ``cc3m-train-0000.tar``, ... (``cc12m-train-...``), counted in
  ``_info.json``;
- the published list, ``Train_GCC-training.tsv`` (caption, tab, address) or ``cc12m.tsv`` (address, tab,
  caption), and a folder of images ``training/``, ``images/`` or ``train/``, each named by its row (counted
  from 0, zeros in front or not), by the CRC-32 of its address, or by ``<row>_<CRC-32>``, with or without
  extension. A row without an image is a dead address, not a broken record.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.storage.images import read_image
from datamodules.storage.index import LeftOut, open_index
from datamodules.storage.layout import Layout, Part, SplitCounts
from datamodules.storage.local_copy import LocalCopy
from datamodules.storage.shards import ShardSource
from datamodules.storage.text_files import files_below, is_unicode

Subset = Literal["gcc3m", "cc12m"]
PUBLISHED = {"gcc3m": 3_318_333, "cc12m": 12_423_374}
MIRRORS = {"gcc3m": "cc3m", "cc12m": "cc12m"}
LISTS = {"gcc3m": "Train*GCC-training.tsv", "cc12m": "cc12m.tsv"}
LISTS_PAGES = {
    "gcc3m": "https://ai.google.com/research/ConceptualCaptions",
    "cc12m": "https://github.com/google-research-datasets/conceptual-12m",
}
IMAGE_FOLDERS = ("training", "images", "train")
LIST_SCHEMA = pa.schema([("image", pa.string()), ("captions", pa.list_(pa.string()))])


def _shards(subset: Subset, count: int) -> Part:
    """The shards of a subset, or its published list."""
    mirror = MIRRORS[subset]
    return Part(
        path=f"{mirror}-train-*.tar",
        content="shards, or the list",
        count=count,
        by_hand=f"`hf download pixparse/{mirror}-wds --repo-type dataset --local-dir data/{subset}` brings "
        f"shards; img2dataset makes shards (00000.tar ...) of the list at {LISTS_PAGES[subset]}",
        needed_if={"subset": subset},
        alternatives=(
            f"train/{mirror}-train-*.tar",
            "[0-9]*.tar",
            "train/[0-9]*.tar",
            LISTS[subset],
            f"train/{LISTS[subset]}",
        ),
        links_expire=True,
    )


LAYOUT = Layout(
    name="ConceptualCaptions",
    title="Conceptual Captions (GCC3M, CC12M)",
    page=LISTS_PAGES["gcc3m"],
    licence="the lists may be used freely, with Google named as their source; the photographs belong to "
    "their authors",
    size="unknown",
    root="data/{subset}",
    options={"subset": "gcc3m"},
    parts=(_shards("gcc3m", 576), _shards("cc12m", 2_176)),
    trains_on="images with captions",
    counts=(
        SplitCounts(
            "train",
            2_905_954,
            unit="pairs",
            needed_if={"subset": "gcc3m"},
            note="in the mirror's 576 shards; 3,318,333 are listed",
        ),
        SplitCounts(
            "train",
            10_968_539,
            unit="pairs",
            needed_if={"subset": "cc12m"},
            note="in the mirror's 2,176 shards; 12,423,374 are listed",
        ),
    ),
    dead_links="Links die: users could fetch 70 % of CC3M, and of CC12M 24 to 64 %. "
    "Give the shards and the sample count with every result.",
)


def find_shards(root: Path, subset: Subset) -> list[Path]:
    """The training shards in a folder, in the order of their numbers."""
    for pattern in (r"\d{5,}\.tar", rf"{MIRRORS[subset]}-train-\d+\.tar"):
        shards = [path for path in root.glob("*.tar") if re.fullmatch(pattern, path.name) and path.is_file()]
        if shards:
            return sorted(shards, key=lambda path: (_number(path), path.name))
    return []


def _number(shard: Path) -> int:
    return int(re.findall(r"\d+", shard.stem)[-1])


def missing_numbers(shards: list[Path]) -> list[int]:
    """Numbers that lie between those of the shards and that no shard bears."""
    numbers = {_number(shard) for shard in shards}
    return sorted(set(range(max(numbers) + 1)) - numbers)


def image_files(folder: Path) -> dict[str, str]:
    """Paths below ``folder`` of all its files, by name without extension; a row number also without its
    leading zeros.
    """
    paths: dict[str, str] = {}
    for path in files_below(folder):
        stem = path.name.partition(".")[0]
        if stem.isdecimal():
            stem = str(int(stem))
        paths[stem] = os.path.relpath(path, folder)
    return paths


def read_list(path: Path, subset: Subset) -> Iterator[tuple[int, str, str] | str]:
    """The rows of a published list as (row from 0, caption, address); a row that is broken as a line for
    ``broken``.
    """
    with path.open("rb") as lines:
        for row, line in enumerate(lines):
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            columns = text.split("\t")
            if len(columns) != 2:
                yield f"{path.name}:{row + 1}\t{len(columns)} columns, not a caption and an address"
                continue
            if subset == "gcc3m":
                caption, address = columns
            else:
                address, caption = columns
            if not is_unicode(text):
                yield f"{path.name}:{row + 1}\tnot UTF-8"
            elif not caption.strip():
                yield f"{path.name}:{row + 1}\tno caption"
            else:
                yield row, " ".join(caption.split()), address


def image_names(row: int, address: str) -> tuple[str, str, str]:
    """What the image of a row may be called, in the three ways of naming."""
    crc = zlib.crc32(address.encode())
    return f"{row}_{crc}", str(crc), str(row)


def list_rows(path: Path, folder: Path, subset: Subset) -> Iterator[dict[str, Any] | str]:
    """The index of a published list: each image that is there, with the captions of all rows that name it."""
    files = image_files(folder)
    # A small CRC-32 could be taken for a row. All images of a folder are named in one way: the one by which
    # most are found.
    hits: Counter[int] = Counter()
    for record in read_list(path, subset):
        if not isinstance(record, str):
            row, _, address = record
            hits.update(way for way, name in enumerate(image_names(row, address)) if name in files)
    best_way = max(range(3), key=lambda way: hits[way])
    captions: dict[str, list[str]] = {}
    for record in read_list(path, subset):
        if isinstance(record, str):
            yield record
            continue
        row, caption, address = record
        file = files.get(image_names(row, address)[best_way])
        if file:
            captions.setdefault(file, []).append(caption)
        else:
            yield LeftOut("its image is not there")
    for file, texts in captions.items():
        if is_unicode(file):
            yield {"image": file, "captions": texts}
        else:
            yield f"{file!a}\tthe name of the image is not UTF-8"


class ListedPairs(CaptionSource):
    """The pairs of a published list whose images are there.

    Raises:
        DataError: no row has an image.
    """

    def __init__(self, path: Path, folder: Path, subset: Subset, cache_dir: Path = Path(".cache")) -> None:
        self.folder = folder
        self.index = open_index(
            path.parent,
            subset,
            [path, folder],
            LIST_SCHEMA,
            partial(list_rows, path, folder, subset),
            cache_dir=cache_dir,
        )
        self.broken = self.index.broken
        self.left_out = self.index.left_out
        if not len(self):
            reason = f" ({self.broken[0]})" if self.broken else ""
            raise DataError(
                f"{path}: no row has an image in {folder.absolute()}, named by its row or the CRC-32 of its "
                f"address{reason}."
            )

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """The image's path in the folder of images."""
        return self.index.value(index, "image")

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.folder / self.key(index))

    def captions(self, index: int) -> list[str]:
        """The captions of all rows that name the image."""
        return self.index.value(index, "captions")


class ConceptualCaptions(GroundingDataModule):
    """Conceptual Captions for training; it has nothing to be judged on.

    Args:
        root: folder of one of the layouts above; by default ``data/gcc3m`` or ``data/cc12m``.
        subset: ``gcc3m`` or ``cc12m``.
        shuffle_window: samples among which shards are shuffled, as in a shuffle buffer; the greater, the more
            shards are read from at a time.
        max_skipped: share of unreadable records above which a run stops.
        kwargs: as for `GroundingDataModule`.
    """

    name = "conceptual_captions"
    layout = LAYOUT

    def __init__(
        self,
        root: Path | None = None,
        subset: Subset = "gcc3m",
        shuffle_window: int = 10_000,
        max_skipped: float = 0.001,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_skipped=max_skipped, **kwargs)
        if subset not in PUBLISHED or shuffle_window < 0:
            raise DataError("ConceptualCaptions: subset is gcc3m or cc12m, and shuffle_window is at least 0.")
        self.root = Path(root or f"data/{subset}")
        self.subset = subset
        self.shuffle_window = shuffle_window
        self.name = subset

    def training_source(self) -> ShardSource | ListedPairs:
        """The pairs of the first layout that is found."""
        for folder in (self.root, self.root / "train"):
            shards = find_shards(folder, self.subset)
            if shards:
                return self._from_shards(folder, shards)
            listing = next(iter(sorted(folder.glob(LISTS[self.subset]))), None)
            images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
            if listing and images:
                return self._from_list(listing, images)
        raise LocalCopy(LAYOUT, self.root, {"subset": self.subset}).not_found(self.root)

    def _from_list(self, listing: Path, images: Path) -> ListedPairs:
        source = ListedPairs(listing, images, self.subset, self.cache_dir)
        published = PUBLISHED[self.subset]
        rank_zero_info(
            f"{self.subset}: {len(source):,} images of {published:,} published addresses are there"
        )
        return source

    def _from_shards(self, folder: Path, shards: list[Path]) -> ShardSource:
        source = ShardSource(folder, shards, self.cache_dir, self.shuffle_window)
        rank_zero_info(
            f"{self.subset}: {len(shards):,} shards, {len(source):,} pairs of {PUBLISHED[self.subset]:,} "
            f"published (contents {source.digest})"
        )
        gaps = missing_numbers(shards)
        if gaps:
            numbers = ", ".join(map(str, gaps[:10])) + (" ..." if len(gaps) > 10 else "")
            rank_zero_warn(
                f"{self.subset}: {len(gaps):,} shards are missing from {folder}, by their numbers: {numbers}."
            )
        if source.ignored:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in source.ignored.most_common())
            rank_zero_warn(f"{self.subset}: members that are no image, txt or json were left alone: {kinds}.")
        return source

    def evaluation_source(self, split: Split) -> None:
        """None: it has nothing to be judged on."""
        return None
