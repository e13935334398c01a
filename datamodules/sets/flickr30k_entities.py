"""Flickr30k Entities (Plummer et al. 2015, arXiv:1505.04870): 31,783 photographs, five captions each, phrases
linked to boxes.

Layout below ``root``, as its publishers ship it: ``flickr30k_images/<id>.jpg``, ``Annotations/<id>.xml``,
``Sentences/<id>.txt`` and the split lists ``train.txt``, ``val.txt``, ``test.txt`` (one id a line).
Annotations and Sentences may also lie in ``flickr30k_entities/``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError
from datamodules.kinds.base import ImageSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.sets import flickr30k_files
from datamodules.storage.images import read_image
from datamodules.storage.index import LeftOut, Rows, open_index
from datamodules.storage.layout import Layout, SplitCounts
from datamodules.storage.local_copy import LocalCopy

PHRASE = re.compile(r"\[/EN#(?P<chain>\d+)(?P<types>(?:/\w+)+) (?P<words>[^\]]+)\]")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("height", pa.int32()),  # that the boxes are for; 0 where the annotation does not say
        ("width", pa.int32()),
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
    """A line of ``Sentences`` without its markup.

    Raises:
        DataError: some of it would be left, for a bracket is missing or phrases lie within each other.
    """
    plain = PHRASE.sub(lambda match: match["words"], sentence).strip()
    if "[/EN#" in plain:
        raise DataError(f"the markup of a phrase is broken: {plain[:80]!r}")
    return plain


def read_annotation(path: Path) -> tuple[tuple[int, int], dict[str, list[list[float]]]]:
    """What an XML file says of a photograph.

    Args:
        path: of the file.

    Returns:
        Height and width that the boxes are for, 0 where it does not say; and the boxes (``xyxy``, 0-based,
        maximum exclusive) of each coreference chain that has any. An object of several names lends its box
        to each.

    Raises:
        DataError: the file is missing or no such XML.
    """
    boxes: dict[str, list[list[float]]] = {}
    try:
        root = ElementTree.parse(path).getroot()
        height, width = (int(root.findtext(f"size/{side}", "0")) for side in ("height", "width"))
        for element in root.iter("object"):
            box = element.find("bndbox")
            if box is None:  # "scene" or "nobndbox"
                continue
            # The XML counts pixels from 1 and includes the last one.
            x0, y0, x1, y1 = (float(box.findtext(side, "nan")) for side in ("xmin", "ymin", "xmax", "ymax"))
            for name in element.iter("name"):
                boxes.setdefault(str(name.text), []).append([x0 - 1, y0 - 1, x1, y1])
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not readable as an annotation ({error})") from error
    return (height, width), boxes


def _read_listing(listing: Path) -> list[str]:
    """The ids in a split list. Raises `DataError`."""
    try:
        ids = listing.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: not readable as a list of image ids ({error})") from error
    if not ids:
        raise DataError(f"{listing} names no image; it must hold one image id a line.")
    return ids


class Flickr30kImages(ImageSource):
    """The photographs of one split that have something to say. What is said of them is read once and indexed.

    Args:
        root: folder of the data set, laid out as above.
        split: which list of images.
        cache_dir: for the index, where ``root`` cannot be written.

    Attributes:
        schema: columns of the index; one of them is ``id``.
        folders: of the annotations that are read, below ``root``.

    Raises:
        DatasetNotFoundError: a part of the layout is missing.
        DataError: the split list names no image.
    """

    schema: ClassVar[pa.Schema]
    folders: ClassVar[dict[str, str]]

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
        listed = _read_listing(listing)
        files = [
            annotated / folder / f"{image_id}{suffix}"
            for image_id in listed
            for folder, suffix in self.folders.items()
        ]
        self.index = open_index(
            root,
            f"flickr30k_entities-{split}",
            [listing, *(path for path in files if path.exists())],
            self.schema,
            lambda: self._rows(listed),
            cache_dir=cache_dir,
        )
        self.broken = self.index.broken
        self.left_out = self.index.left_out

    def __len__(self) -> int:
        return len(self.index)

    def key(self, index: int) -> str:
        """The photograph's id."""
        return self.index.value(index, "id")

    def row_of(self, image_id: str) -> Iterator[dict[str, Any] | str | LeftOut]:
        """The row of ``schema`` of an image, if there is anything to say, and what cannot be used of it.

        Raises:
            DataError: a file of its annotations cannot be read.
        """
        raise NotImplementedError

    def _rows(self, listed: list[str]) -> Rows:
        for image_id, count in Counter(listed).items():
            yield from [f"{image_id}\tlisted again"] * (count - 1)
            try:
                yield from self.row_of(image_id)
            except DataError as error:
                yield f"{image_id}\t{error}"

    def _lines(self, image_id: str) -> list[str]:
        path = self.sentences / f"{image_id}.txt"
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not readable ({error})") from error


class Flickr30kCaptions(Flickr30kImages, CaptionSource):
    """One split to learn from: captions without markup."""

    schema = pa.schema([("id", pa.string()), ("captions", pa.list_(pa.string()))])
    folders: ClassVar = {"Sentences": ".txt"}

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.images / f"{self.key(index)}.jpg")

    def captions(self, index: int) -> list[str]:
        """Its captions, without markup."""
        return self.index.value(index, "captions")

    def row_of(self, image_id: str) -> Iterator[dict[str, Any] | str | LeftOut]:
        """The captions of an image, and a line for each whose markup is broken."""
        captions = []
        for number, line in enumerate(self._lines(image_id)):
            try:
                captions.append(plain_caption(line))
            except DataError as error:
                yield f"{image_id}/{number}\t{error}"
        captions = [caption for caption in captions if caption]
        if not captions:
            raise DataError(f"{self.sentences / image_id}.txt holds no caption")
        yield {"id": image_id, "captions": captions}


class Flickr30kSplit(Flickr30kImages, GroundingSource):
    """One split to be judged on: every mention of a boxed chain is a query, with the same ``chain`` for all
    mentions of a chain. Mentions without a box are left out, and so are images without a boxed one.
    """

    schema = SCHEMA
    folders: ClassVar = {"Annotations": ".xml", "Sentences": ".txt"}

    @property
    def number_of_queries(self) -> int:
        """Boxed mentions in all."""
        return self.index.count("phrases")

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read, or is not of the size that its boxes
        are for.
        """
        size = (self.index.value(index, "height"), self.index.value(index, "width"))
        return read_image(self.images / f"{self.key(index)}.jpg", size=size if all(size) else None)

    def queries(self, index: int) -> list[Query]:
        """Every mention of a chain that has boxes."""
        row = self.index.row(index)
        boxes_of_mentions = np.split(row["boxes"], np.cumsum(row["numbers"])[:-1])
        mentions = zip(row["places"], row["phrases"], row["chains"], boxes_of_mentions, strict=True)
        return [
            Query(phrase, boxes, f"{row['id']}/{position}", chain)
            for position, phrase, chain, boxes in mentions
        ]

    def row_of(self, image_id: str) -> Iterator[dict[str, Any] | str | LeftOut]:
        """The mentions of boxed chains, and a line for each caption whose markup is broken."""
        (height, width), boxes = read_annotation(self.annotations / f"{image_id}.xml")
        row: dict[str, Any] = {"id": image_id, "height": height, "width": width}
        for column in ("places", "phrases", "chains", "numbers", "boxes"):
            row[column] = []
        for line, sentence in enumerate(self._lines(image_id)):
            try:
                plain_caption(sentence)
            except DataError as error:
                yield f"{image_id}/{line}\t{error}"
                continue
            for number, match in enumerate(PHRASE.finditer(sentence)):
                chain = match["chain"]
                if chain not in boxes:
                    yield LeftOut("a phrase without a box")
                    continue
                row["places"].append(f"{line}/{number}")
                row["phrases"].append(match["words"])
                row["chains"].append(chain)
                row["numbers"].append(len(boxes[chain]))
                row["boxes"].extend(boxes[chain])
        if row["phrases"]:
            yield row


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

    def training_source(self) -> Flickr30kCaptions:
        """The captions of the training split."""
        return Flickr30kCaptions(self.root, "train", self.cache_dir)

    def evaluation_source(self, split: Split) -> Flickr30kSplit:
        """The boxed mentions of a split."""
        return Flickr30kSplit(self.root, split, self.cache_dir)
