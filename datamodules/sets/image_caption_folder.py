"""Any folder of images with a file of captions: what a user with data of their own has.

Captions are a CSV or TSV file with the columns ``image`` and ``caption`` (a row a caption), or JSON lines
such as ``{"image": "a.jpg", "captions": ["a dog on a sofa", ...]}`` or ``{"image": "a.jpg", "caption": "a dog
on a sofa"}``. With boxes, methods can be judged on JSON lines ``{"image": "a.jpg", "phrase": "a dog",
"boxes": [[x0, y0, x1, y1], ...]}`` in pixels, 0-based, the maximum exclusive; `predict` takes such lines
without boxes, too. Queries may also be a table with the columns ``image``, ``phrase`` and, if there are
boxes, ``boxes``, whose cells hold them as JSON does. Every file may be gzipped. A cell of a CSV may be
quoted; a TSV has no quoting. ``image`` is a path below the folder; the extension may be left out.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.base import ImageSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.images import read_image
from datamodules.storage.row_files import CAPTION_COLUMNS, IMAGE_COLUMNS, IMAGE_SUFFIXES, field, read_rows
from datamodules.storage.text_files import as_text, files_below, is_unicode

QUERY_KEYS = ("phrase", "boxes", "chain")


def find_images(folder: Path) -> dict[str, str]:
    """The relative paths of the images below ``folder``, each under itself and under itself without
    extension.

    Raises:
        DatasetNotFoundError: no such folder.
        DataError: it holds no image.
    """
    if not folder.is_dir():
        raise DatasetNotFoundError("ImageCaptionFolder", folder, "image files", "Set --data.images.")
    images: dict[str, str] = {}
    for path in sorted(files_below(folder)):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            relative = path.relative_to(folder)
            images[relative.as_posix()] = relative.as_posix()
            images.setdefault(relative.with_suffix("").as_posix(), relative.as_posix())
    if not images:
        raise DataError(
            f"{folder.absolute()} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); set --data.images."
        )
    return images


class ListedImages(ImageSource):
    """The images of a folder that a file names: ``names`` are their paths below ``folder``."""

    folder: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        """The image's path below the folder."""
        return self.names[index]

    def image(self, index: int) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises `DataError` if it cannot be read."""
        return read_image(self.folder / self.names[index])


class CaptionedFolder(ListedImages, CaptionSource):
    """Images and captions of a folder. Rows that are broken, empty, or name an image that is not there are
    listed in ``broken``.

    Args:
        images: the folder.
        captions: the caption file.
        ignore_missing: do not count rows whose image is not there as broken.
    """

    def __init__(self, images: Path, captions: Path, ignore_missing: bool = False) -> None:
        paths = find_images(images)
        self.broken: list[str] = []
        self.left_out: Counter[str] = Counter()
        grouped: dict[str, list[str]] = {}
        for number, row in read_rows(captions):
            if ignore_missing and names_another_image(row, paths):
                self.left_out["its image is not in the folder"] += 1
                continue
            try:
                name, texts = parse_caption(row)
                path = path_of(name, paths)
            except ValueError as error:
                self.broken.append(f"{captions.name}:{number}\t{error}")
            else:
                grouped.setdefault(path, []).extend(texts)
        if not grouped:
            raise DataError(
                f"{captions}: no row names an image below {images.absolute()} and a caption"
                f"{first_of(self.broken)}."
            )
        self.folder = images
        self.names = list(grouped)
        self.texts = list(grouped.values())

    def captions(self, index: int) -> list[str]:
        """All captions that name the image."""
        return self.texts[index]


def names_another_image(row: dict | str, paths: dict[str, str]) -> bool:
    """Whether a row names an image that is not among ``paths``."""
    if isinstance(row, str):
        return False
    name = field(row, IMAGE_COLUMNS)
    return name is not None and str(name) not in paths


def path_of(name: str, paths: dict[str, str]) -> str:
    """The path of an image below the folder. Raises `ValueError` if there is no such image."""
    if name in paths:
        return paths[name]
    if PurePath(name).is_absolute():
        raise ValueError(f"{name} is an absolute path; write the path below the folder of images")
    raise ValueError(f"no image {name}")


def parse_caption(row: dict | str) -> tuple[str, list[str]]:
    """A row of `read_rows` -> the image's name and its captions.

    Raises:
        ValueError: the row says nothing of this kind; the message says why.

    Example:
        >>> parse_caption({"image": "a.jpg", "captions": [" a  dog ", ""]})
        ('a.jpg', ['a dog'])
    """
    if isinstance(row, str):
        raise ValueError(row)
    name = field(row, IMAGE_COLUMNS)
    captions = field(row, CAPTION_COLUMNS)
    if name is None or captions is None:
        raise ValueError("no image or no caption")
    if isinstance(captions, str):
        captions = [captions]
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise ValueError("the caption is no text")
    captions = [" ".join(caption.split()) for caption in captions if caption.strip()]
    if not captions:
        raise ValueError("the caption is empty")
    if not all(map(is_unicode, captions)):
        raise ValueError("the caption is not UTF-8")
    return str(name), captions


def first_of(broken: list[str]) -> str:
    """The first of the lines about broken rows, in brackets; empty if there are none."""
    if not broken:
        return ""
    return " ({})".format(broken[0].replace("\t", ": "))


class QueriedFolder(ListedImages, GroundingSource):
    """Images and queries of a folder; broken rows are listed in ``broken``.

    Args:
        images: the folder.
        queries: the file of queries.
        normalised: boxes are shares of the image's sides, and not pixels.
    """

    def __init__(self, images: Path, queries: Path, normalised: bool = False) -> None:
        paths = find_images(images)
        self.broken: list[str] = []
        grouped: dict[str, list[Query]] = {}
        for number, row in read_rows(queries):
            key = f"{queries.name}:{number}"
            try:
                name, query = parse_query(row, key, normalised)
                grouped.setdefault(path_of(name, paths), []).append(query)
            except (ValueError, TypeError) as error:
                self.broken.append(f"{key}\t{error}")
        if not grouped:
            raise DataError(
                f"{queries}: no row names an image below {images.absolute()}, a phrase and its boxes"
                f"{first_of(self.broken)}."
            )
        self.folder = images
        self.normalised = normalised
        self.names = list(grouped)
        self.queries_of_images = list(grouped.values())

    @property
    def number_of_queries(self) -> int:
        """Queries in all."""
        return sum(map(len, self.queries_of_images))

    def queries(self, index: int) -> list[Query]:
        """All queries of the image, with boxes in pixels."""
        queries = self.queries_of_images[index]
        if not self.normalised:
            return queries
        height, width = self.image(index).shape[:2]
        sides = np.asarray([width, height, width, height], dtype=np.float32)
        return [replace(query, boxes=query.boxes * sides) for query in queries]


def parse_query(row: dict | str, key: str, normalised: bool = False) -> tuple[str, Query]:
    """A row of `read_rows` -> the image's name and the query, named ``key``.

    Args:
        row: of the file.
        key: what the query is called.
        normalised: boxes are shares of the image's sides.

    Raises:
        ValueError, TypeError: the row says nothing of this kind; the message says why.
    """
    if isinstance(row, str):
        raise ValueError(row)
    name = field(row, IMAGE_COLUMNS)
    if name is None or "phrase" not in row:
        raise ValueError(f"no {'image' if name is None else 'phrase'}{_similar_key(row)}")
    if "boxes" not in row and _similar_key(row):
        raise ValueError(f"no boxes{_similar_key(row)}")
    phrase = as_text(row["phrase"], "phrase")
    if not is_unicode(phrase):
        raise ValueError("the phrase is not UTF-8")
    boxes = np.asarray(_boxes_of(row), dtype=np.float32).reshape(-1, 4)
    if len(boxes) and not normalised and ((boxes >= 0) & (boxes <= 1)).all():
        raise ValueError(
            f"the boxes {row['boxes']} are less than a pixel; if they are shares of the image's sides, set "
            "--data.normalised true"
        )
    return str(name), Query(phrase, boxes, key, str(row.get("chain", key)))


def _boxes_of(row: dict) -> Any:
    """The boxes of a row; the cell of a table holds them as they stand in JSON lines, or nothing."""
    boxes = row.get("boxes", [])
    if not isinstance(boxes, str):
        return boxes
    try:
        return json.loads(boxes) if boxes.strip() else []
    except json.JSONDecodeError as error:
        raise ValueError(f"the boxes {boxes} are not [[x0, y0, x1, y1], ...]") from error


def _similar_key(row: dict) -> str:
    """The key of a row that may be meant for one that it lacks, in words; empty if there is none."""
    unknown = [key for key in row if key not in (*QUERY_KEYS, *IMAGE_COLUMNS)]
    missing = [key for key in ("image", "phrase", "boxes") if key not in row]
    for key in missing:
        for near_miss in get_close_matches(key, unknown, n=1, cutoff=0.6):
            return f" (is {near_miss!r} meant for {key!r}?)"
    return ""


class ImageCaptionFolder(GroundingDataModule):
    """A folder of images with a file of captions.

    Args:
        images: the folder, searched recursively.
        captions: the caption file.
        val_queries, test_queries: phrases with boxes to be judged on, if there are any.
        normalised: boxes are shares of the image's sides, from 0 to 1, and not pixels.
        ignore_missing: leave out rows whose image is not in the folder without counting them as broken.
        kwargs: as for `GroundingDataModule`.
    """

    name = "folder"
    layout = None

    def __init__(
        self,
        images: Path,
        captions: Path | None = None,
        val_queries: Path | None = None,
        test_queries: Path | None = None,
        normalised: bool = False,
        ignore_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images = Path(images)
        self.captions = Path(captions) if captions else None
        self.normalised = normalised
        self.ignore_missing = ignore_missing
        self.queries = {
            "val": Path(val_queries) if val_queries else None,
            "test": Path(test_queries) if test_queries else None,
        }

    def training_source(self) -> CaptionedFolder | None:
        """The images that have captions; None if no caption file is named."""
        if self.captions is None:
            return None
        return CaptionedFolder(self.images, self.captions, self.ignore_missing)

    def evaluation_source(self, split: Split) -> QueriedFolder | None:
        """The images that have queries; None if the split has no file of queries."""
        queries = self.queries.get(split)
        return None if queries is None else QueriedFolder(self.images, queries, self.normalised)
