"""Flickr30k Entities (Plummer et al. 2015, arXiv:1505.04870): 31,783 photographs, five captions each, phrases linked to boxes.

Layout below ``root``, as its publishers ship it: ``flickr30k_images/<id>.jpg``, ``Annotations/<id>.xml``, ``Sentences/<id>.txt`` and the split lists
``train.txt``, ``val.txt``, ``test.txt`` (one id a line). Annotations and Sentences may also lie in ``flickr30k_entities/``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.images import read_image
from datamodules.sources import CaptionSource, GroundingSource, Query

PHRASE = re.compile(r"\[/EN#(?P<chain>\d+)(?P<types>(?:/\w+)+) (?P<words>[^\]]+)\]")
REMEDY = (
    "Set --data.root; the photographs are had from shannon.cs.illinois.edu/DenotationGraph, the annotations from "
    "github.com/BryanPlummer/flickr30k_entities."
)


def plain_caption(sentence: str) -> str:
    """A line of ``Sentences`` without its markup."""
    return PHRASE.sub(lambda match: match["words"], sentence).strip()


def chain_boxes(annotation: Path) -> dict[str, list[list[float]]]:
    """Boxes (``xyxy``, 0-based, maximum exclusive) of each coreference chain that has any; an object of several names lends its box to each.

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
    """One split: captions without markup, and every mention of a boxed chain as a query.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the split list names no image.
    """

    def __init__(self, root: Path, split: Split) -> None:
        holds = "flickr30k_images/, Annotations/, Sentences/ and train.txt, val.txt, test.txt"
        annotated = root / "flickr30k_entities" if (root / "flickr30k_entities").is_dir() else root
        self.images = root / "flickr30k_images"
        if (self.images / "flickr30k_images").is_dir():
            self.images /= "flickr30k_images"
        self.annotations, self.sentences = annotated / "Annotations", annotated / "Sentences"
        listing = next((path for path in (root / f"{split}.txt", annotated / f"{split}.txt") if path.exists()), root / f"{split}.txt")
        for path in (root, self.images, self.annotations, self.sentences, listing):
            if not path.exists():
                raise DatasetNotFoundError("Flickr30k Entities", path, holds, REMEDY)
        listed = listing.read_text().split()
        if not listed:
            raise DataError(f"{listing} names no image; it must hold one image id a line.")
        self.ids = listed
        if split != "train":  # evaluation knows its queries from the start; an image without any is not judged
            with_queries = [(image_id, self._count(image_id)) for image_id in listed]
            self.broken = [f"{image_id}\t{count}" for image_id, count in with_queries if isinstance(count, str)]
            self.ids = [image_id for image_id, count in with_queries if isinstance(count, int) and count]
            self._queries = sum(count for _, count in with_queries if isinstance(count, int))

    def _count(self, image_id: str) -> int | str:
        try:
            return len(self._mentions(image_id))
        except DataError as error:
            return str(error)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def number_of_queries(self) -> int:
        return self._queries

    def key(self, index: int) -> str:
        return self.ids[index]

    def image(self, index: int) -> np.ndarray:
        return read_image(self.images / f"{self.ids[index]}.jpg")

    def captions(self, index: int) -> list[str]:
        captions = [plain_caption(line) for line in self._lines(self.ids[index]) if line.strip()]
        if not captions:
            raise DataError(f"{self.sentences / self.ids[index]}.txt holds no caption")
        return captions

    def queries(self, index: int) -> list[Query]:
        return self._mentions(self.ids[index])

    def _lines(self, image_id: str) -> list[str]:
        path = self.sentences / f"{image_id}.txt"
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not readable ({error})") from error

    def _mentions(self, image_id: str) -> list[Query]:
        boxes = chain_boxes(self.annotations / f"{image_id}.xml")
        return [
            Query(match["words"], np.asarray(boxes[match["chain"]], dtype=np.float32), f"{image_id}/{line}/{n}", match["chain"])
            for line, sentence in enumerate(self._lines(image_id))
            for n, match in enumerate(PHRASE.finditer(sentence))
            if match["chain"] in boxes
        ]


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
        return Flickr30kSplit(self.root, split)
