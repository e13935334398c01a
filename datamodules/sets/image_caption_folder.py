"""Any folder of images with a file of captions: what a user with data of their own has.

Captions are a CSV or TSV file with the columns ``image`` and ``caption`` (a row a caption), or JSON lines
such as ``{"image": "a.jpg", "captions": ["a dog on a sofa", ...]}`` or ``{"image": "a.jpg", "caption": "a dog
on a sofa"}``. With boxes, methods can be judged on JSON lines ``{"image": "a.jpg", "phrase": "a dog",
"boxes": [[x0, y0, x1, y1], ...]}`` in pixels, 0-based, the maximum exclusive; `predict` takes such lines
without boxes, too. Every file may be gzipped. ``image`` is a path below the folder; the extension may be left
out.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from datamodules.base import GroundingDataModule, Split
from datamodules.errors import DataError, DatasetNotFoundError
from datamodules.kinds.base import ImageSource
from datamodules.kinds.captions import CaptionSource
from datamodules.kinds.grounding import GroundingSource, Query
from datamodules.storage.images import read_image
from datamodules.storage.text_files import is_unicode

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
IMAGE_COLUMNS = ("image", "image_id", "file_name", "filename", "filepath", "path")
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "sentence")


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
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            relative = path.relative_to(folder)
            images[relative.as_posix()] = relative.as_posix()
            images.setdefault(relative.with_suffix("").as_posix(), relative.as_posix())
    if not images:
        raise DataError(
            f"{folder.absolute()} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); set --data.images."
        )
    return images


def read_rows(path: Path) -> Iterator[tuple[int, dict | str]]:
    """The rows of a CSV, TSV or JSON-lines file, gzipped or not: (line number, row), or (line number, why it
    is broken).

    Raises:
        DatasetNotFoundError: no such file.
        DataError: the file is of another kind, or its header lacks a column.
    """
    if not path.is_file():
        raise DatasetNotFoundError(
            "ImageCaptionFolder",
            path,
            "one caption or query a line",
            "Set --data.captions or --data.test_queries.",
        )
    kind = next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")
    try:
        with _open_bytes(path) as raw:
            lines = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
            if kind in {".jsonl", ".ndjson", ".json"}:
                yield from _json_rows(lines)
            elif kind in {".csv", ".tsv"}:
                yield from _table_rows(lines, "\t" if kind == ".tsv" else ",", path)
            else:
                raise DataError(
                    f"{path}: captions are read from .csv, .tsv or .jsonl files (each may end in .gz), not "
                    f"{kind or 'a file without suffix'}."
                )
    except (OSError, EOFError, csv.Error) as error:
        raise DataError(f"{path}: not readable to its end ({error}).") from error


def _open_bytes(path: Path) -> IO[bytes]:
    """A file that may be gzipped, as its plain bytes."""
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    return path.open("rb")


def _json_rows(lines: io.TextIOWrapper) -> Iterator[tuple[int, dict | str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"no JSON ({error.msg})"
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            yield number, "no JSON object"


def _table_rows(lines: io.TextIOWrapper, delimiter: str, path: Path) -> Iterator[tuple[int, dict | str]]:
    reader = csv.DictReader(lines, delimiter=delimiter)
    header = reader.fieldnames or []
    if not set(header) & set(IMAGE_COLUMNS) or not set(header) & set(CAPTION_COLUMNS):
        raise DataError(
            f"{path}: the first line must name the columns image and caption; it says "
            f"{', '.join(header) or 'nothing'}."
        )
    for row in reader:
        if None in row or None in row.values():
            yield reader.line_num, "too many or too few columns"
        else:
            yield reader.line_num, row


def field(row: dict, names: tuple[str, ...]) -> Any:
    """The value of the first of ``names`` that a row has, or None."""
    return next((row[name] for name in names if name in row), None)


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
        grouped: dict[str, list[str]] = {}
        for number, row in read_rows(captions):
            if ignore_missing and names_another_image(row, paths):
                continue
            try:
                name, texts = parse_caption(row)
                if name not in paths:
                    raise ValueError(f"no image {name}")
            except ValueError as error:
                self.broken.append(f"{captions.name}:{number}\t{error}")
            else:
                grouped.setdefault(paths[name], []).extend(texts)
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
    return f" ({broken[0]})" if broken else ""


class QueriedFolder(ListedImages, GroundingSource):
    """Images and queries of a folder; broken rows are listed in ``broken``.

    Args:
        images: the folder.
        queries: the file of queries.
    """

    def __init__(self, images: Path, queries: Path) -> None:
        paths = find_images(images)
        self.broken: list[str] = []
        grouped: dict[str, list[Query]] = {}
        for number, row in read_rows(queries):
            key = f"{queries.name}:{number}"
            try:
                name, query = parse_query(row, key)
                if name not in paths:
                    raise ValueError(f"no image {name}")
                grouped.setdefault(paths[name], []).append(query)
            except KeyError as error:
                self.broken.append(f"{key}\tno {error}")
            except (ValueError, TypeError) as error:
                self.broken.append(f"{key}\t{error}")
        if not grouped:
            raise DataError(
                f"{queries}: no row names an image below {images.absolute()}, a phrase and its boxes"
                f"{first_of(self.broken)}."
            )
        self.folder = images
        self.names = list(grouped)
        self.queries_of_images = list(grouped.values())

    @property
    def number_of_queries(self) -> int:
        """Queries in all."""
        return sum(map(len, self.queries_of_images))

    def queries(self, index: int) -> list[Query]:
        """All queries of the image."""
        return self.queries_of_images[index]


def parse_query(row: dict | str, key: str) -> tuple[str, Query]:
    """A row of `read_rows` -> the image's name and the query, named ``key``.

    Raises:
        KeyError, ValueError, TypeError: the row says nothing of this kind.
    """
    if isinstance(row, str):
        raise ValueError(row)
    phrase = str(row["phrase"])
    if not is_unicode(phrase):
        raise ValueError("the phrase is not UTF-8")
    boxes = np.asarray(row.get("boxes", []), dtype=np.float32).reshape(-1, 4)
    return str(field(row, IMAGE_COLUMNS)), Query(phrase, boxes, key, str(row.get("chain", key)))


class ImageCaptionFolder(GroundingDataModule):
    """A folder of images with a file of captions.

    Args:
        images: the folder, searched recursively.
        captions: the caption file.
        val_queries, test_queries: phrases with boxes to be judged on, if there are any.
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
        ignore_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images = Path(images)
        self.captions = Path(captions) if captions else None
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
        return None if queries is None else QueriedFolder(self.images, queries)
