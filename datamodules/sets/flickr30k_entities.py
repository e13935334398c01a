"""Flickr30k Entities (Plummer et al. 2015, arXiv:1505.04870): 31,783 photographs, five captions each, phrases
linked to boxes.

Layout below ``root``, as its publishers ship it: ``flickr30k_images/<id>.jpg``, ``Annotations/<id>.xml``,
``Sentences/<id>.txt`` and the split lists ``train.txt``, ``val.txt``, ``test.txt`` (one id a line).
Annotations and Sentences may also lie in ``flickr30k_entities/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.sets import flickr30k_files
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, open_index
from datamodules.storage.layout import Layout, SplitCounts
from datamodules.storage.local_copy import LocalCopy

PHRASE = re.compile(r"\[/EN#(?P<chain>\d+)(?P<types>(?:/\w+)+) (?P<words>[^\]]+)\]")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("places", pa.list_(pa.string())),  # of each mention: its line / its number within the line
        ("phrases", pa.list_(pa.string())),
        ("chains", pa.list_(pa.string())),
        ("numbers", pa.list_(pa.int64())),  # of boxes of each mention
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
    ]
)

LAYOUT = Layout(
    name="Flickr30kEntities",
    title="Flickr30k Entities",
    page=flickr30k_files.ANNOTATIONS_PAGE,
    licence=flickr30k_files.LICENCE,
    size="about 4.5 GB",
    root="data/flickr30k_entities",
    parts=(
        flickr30k_files.PHOTOGRAPHS,
        flickr30k_files.BOXES,
        flickr30k_files.SENTENCES,
        *flickr30k_files.split_lists("train", "val", "test"),
    ),
    trains_on="images with captions",
    judged_on="phrases with boxes",
    counts=(
        SplitCounts("train", 29_783),
        SplitCounts("val", 1_000),
        SplitCounts(
            "test",
            1_000,
            14_481,
            note="boxed mentions, as widely quoted (17,519 with the unboxed); not confirmed here",
        ),
    ),
    dead_links="Mirrors of the photographs come and go; the form is the lasting way.",
)


def plain_caption(sentence: str) -> str:
    """A line of ``Sentences`` without its markup."""
    return PHRASE.sub(lambda match: match["words"], sentence).strip()


def chain_boxes(annotation: Path) -> dict[str, list[list[float]]]:
    """Boxes (``xyxy``, 0-based, maximum exclusive) of each coreference chain that has any; an object of
    several names lends its box to each.

    Raises:
        DataError: the file is missing or no such XML.
    """
    boxes: dict[str, list[list[float]]] = {}
    try:
        for element in ElementTree.parse(annotation).getroot().iter("object"):
            box = element.find("bndbox")
            if box is None:  # "scene" or "nobndbox"
                continue
            # The XML counts pixels from 1 and includes the last one.
            x0, y0, x1, y1 = (float(box.findtext(side, "nan")) for side in ("xmin", "ymin", "xmax", "ymax"))
            for name in element.iter("name"):
                boxes.setdefault(str(name.text), []).append([x0 - 1, y0 - 1, x1, y1])
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{annotation}: not readable as an annotation ({error})") from error
    return boxes


def _read_listing(listing: Path) -> list[str]:
    """The ids in a split list. Raises `DataError`."""
    try:
        ids = listing.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: not readable as a list of image ids ({error})") from error
    if not ids:
        raise DataError(f"{listing} names no image; it must hold one image id a line.")
    return ids


class Flickr30kSplit(CaptionSource, GroundingSource):
    """One split: captions without markup, and every mention of a boxed chain as a query (the same ``chain``
    for all mentions of a chain).

    The files of a split to be judged on are read once and indexed. Images without a boxed phrase are left
    out of it.

    Args:
        root: folder of the data set, laid out as above.
        split: which list of images.
        cache_dir: for the index, where ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the split list names no image.
    """

    def __init__(self, root: Path, split: Split, cache_dir: Path = Path(".cache")) -> None:
        copy = LocalCopy(LAYOUT, root)
        annotated = root / "flickr30k_entities" if (root / "flickr30k_entities").is_dir() else root
        self.images = root / "flickr30k_images"
        if (self.images / "flickr30k_images").is_dir():
            self.images /= "flickr30k_images"
        self.annotations = annotated / "Annotations"
        self.sentences = annotated / "Sentences"
        copy.require(self.images, self.annotations, self.sentences)
        listing = copy.first_existing(root / f"{split}.txt", annotated / f"{split}.txt")
        self.listed = _read_listing(listing)
        self.index: ArrowIndex | None = None
        if split != "train":
            files = [path for image_id in self.listed for path in self._files(image_id) if path.exists()]
            self.index = open_index(
                root,
                f"flickr30k_entities-{split}",
                [listing, *files],
                SCHEMA,
                self._rows,
                cache_dir=cache_dir,
            )
            self.broken = self.index.broken

    def __len__(self) -> int:
        return len(self.listed) if self.index is None else len(self.index)

    @property
    def number_of_queries(self) -> int | None:
        """Boxed mentions in all; None for the training split, which is not judged."""
        return None if self.index is None else self.index.count("phrases")

    def key(self, index: int) -> str:
        """The photograph's id."""
        return self.listed[index] if self.index is None else self.index.value(index, "id")

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / f"{self.key(index)}.jpg")

    def captions(self, index: int) -> list[str]:
        """Its captions, without markup. Raises `DataError` if there are none."""
        captions = [plain_caption(line) for line in self._lines(self.key(index)) if line.strip()]
        if not captions:
            raise DataError(f"{self.sentences / self.key(index)}.txt holds no caption")
        return captions

    def queries(self, index: int) -> list[Query]:
        """Every mention of a chain that has boxes."""
        assert self.index is not None, "a split to train on is not judged"
        row = self.index.row(index)
        boxes_of_mentions = np.split(row["boxes"], np.cumsum(row["numbers"])[:-1])
        mentions = zip(row["places"], row["phrases"], row["chains"], boxes_of_mentions, strict=True)
        return [
            Query(phrase, boxes, f"{row['id']}/{position}", chain)
            for position, phrase, chain, boxes in mentions
        ]

    def _files(self, image_id: str) -> tuple[Path, Path]:
        return self.annotations / f"{image_id}.xml", self.sentences / f"{image_id}.txt"

    def _lines(self, image_id: str) -> list[str]:
        path = self.sentences / f"{image_id}.txt"
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not readable ({error})") from error

    def _rows(self) -> Iterator[dict[str, Any] | str]:
        for image_id in dict.fromkeys(self.listed):
            try:
                row = self._row(image_id)
            except DataError as error:
                yield f"{image_id}\t{error}"
                continue
            if row["phrases"]:
                yield row

    def _row(self, image_id: str) -> dict[str, Any]:
        """A row of `SCHEMA`: the mentions of boxed chains."""
        boxes = chain_boxes(self.annotations / f"{image_id}.xml")
        row: dict[str, Any] = {"id": image_id}
        for column in ("places", "phrases", "chains", "numbers", "boxes"):
            row[column] = []
        for line, sentence in enumerate(self._lines(image_id)):
            for number, match in enumerate(PHRASE.finditer(sentence)):
                chain = match["chain"]
                if chain in boxes:
                    row["places"].append(f"{line}/{number}")
                    row["phrases"].append(match["words"])
                    row["chains"].append(chain)
                    row["numbers"].append(len(boxes[chain]))
                    row["boxes"].extend(boxes[chain])
        return row


class Flickr30kEntities(GroundingDataModule):
    """Flickr30k Entities.

    Args:
        root: folder of the data set, laid out as above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_entities"
    layout = LAYOUT

    def __init__(self, root: Path = Path("data/flickr30k_entities"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def training_source(self) -> Flickr30kSplit:
        """The training split."""
        return Flickr30kSplit(self.root, "train")

    def evaluation_source(self, split: Split) -> Flickr30kSplit:
        """The boxed mentions of a split."""
        return Flickr30kSplit(self.root, split, self.cache_dir)
