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
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.images import read_image
from datamodules.storage.index import ArrowIndex, open_index

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
REMEDY = (
    "Set --data.root; the photographs are had from shannon.cs.illinois.edu/DenotationGraph, the annotations from "
    "github.com/BryanPlummer/flickr30k_entities."
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


class Flickr30kSplit(CaptionSource, GroundingSource):
    """One split: captions without markup, and every mention of a boxed chain as a query (the same ``chain``
    for all mentions of a chain).

    The files of a split to be judged on are read once and indexed. An image without a boxed phrase is not one
    of it.

    Args:
        root: folder of the layout.
        split: which list of images.
        cache_dir: for the index, where ``root`` cannot be written.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the split list names no image.
    """

    def __init__(self, root: Path, split: Split, cache_dir: Path = Path(".cache")) -> None:
        holds = "flickr30k_images/, Annotations/, Sentences/ and train.txt, val.txt, test.txt"
        annotated = root / "flickr30k_entities" if (root / "flickr30k_entities").is_dir() else root
        self.images = root / "flickr30k_images"
        if (self.images / "flickr30k_images").is_dir():
            self.images /= "flickr30k_images"
        self.annotations, self.sentences = annotated / "Annotations", annotated / "Sentences"
        listing = next(
            (path for path in (root / f"{split}.txt", annotated / f"{split}.txt") if path.exists()),
            root / f"{split}.txt",
        )
        for path in (root, self.images, self.annotations, self.sentences, listing):
            if not path.exists():
                raise DatasetNotFoundError("Flickr30k Entities", path, holds, REMEDY)
        try:
            self.listed = listing.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listing}: not readable as a list of image ids ({error})") from error
        if not self.listed:
            raise DataError(f"{listing} names no image; it must hold one image id a line.")
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
        return None if self.index is None else self.index.count("phrases")

    def key(self, index: int) -> str:
        return self.listed[index] if self.index is None else self.index.value(index, "id")

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / f"{self.key(index)}.jpg")

    def captions(self, index: int) -> list[str]:
        captions = [plain_caption(line) for line in self._lines(self.key(index)) if line.strip()]
        if not captions:
            raise DataError(f"{self.sentences / self.key(index)}.txt holds no caption")
        return captions

    def queries(self, index: int) -> list[Query]:
        assert self.index is not None, "a split to train on is not judged"
        row = self.index.row(index)
        boxes = np.split(row["boxes"], np.cumsum(row["numbers"])[:-1])
        return [
            Query(phrase, of_mention, f"{row['id']}/{place}", chain)
            for place, phrase, chain, of_mention in zip(
                row["places"], row["phrases"], row["chains"], boxes, strict=True
            )
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
                if (row := self._row(image_id))["phrases"]:
                    yield row
            except DataError as error:
                yield f"{image_id}\t{error}"

    def _row(self, image_id: str) -> dict[str, Any]:
        """A row of `SCHEMA`: the mentions of boxed chains."""
        boxes = chain_boxes(self.annotations / f"{image_id}.xml")
        mentions = [
            (f"{line}/{n}", match["words"], match["chain"], boxes[match["chain"]])
            for line, sentence in enumerate(self._lines(image_id))
            for n, match in enumerate(PHRASE.finditer(sentence))
            if match["chain"] in boxes
        ]
        places, phrases, chains, found = zip(*mentions, strict=True) if mentions else ((), (), (), ())
        return {
            "id": image_id,
            "places": places,
            "phrases": phrases,
            "chains": chains,
            "numbers": [len(of_mention) for of_mention in found],
            "boxes": [box for of_mention in found for box in of_mention],
        }


class Flickr30kEntities(GroundingDataModule):
    """Flickr30k Entities.

    Args:
        root: folder of the layout above.
        kwargs: as for `GroundingDataModule`.
    """

    name = "flickr30k_entities"

    def __init__(self, root: Path = Path("data/flickr30k_entities"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def caption_source(self) -> Flickr30kSplit:
        return Flickr30kSplit(self.root, "train")

    def evaluation_source(self, split: Split) -> Flickr30kSplit:
        return Flickr30kSplit(self.root, split, self.cache_dir)
